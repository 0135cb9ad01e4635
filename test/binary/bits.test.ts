import { expect, test } from 'vitest';
import { bit, bits, flags } from '../../src/binary/bits.js';

test('masks single bits of 32 and spans of 64, as specifications number them', () => {
  expect([bit(0), bit(1), bit(31)]).toEqual([1, 2, 0x80000000]);
  expect([bits(0, 0), bits(9, 55), bits(0, 63), bits(63, 63)]).toEqual([
    1n,
    0x00ff_ffff_ffff_fe00n,
    0xffff_ffff_ffff_ffffn,
    0x8000_0000_0000_0000n,
  ]);
  for (const position of [-1, 32]) expect(() => bit(position)).toThrow(RangeError);
});

const field = flags('s_flags', { FIRST: bit(0), THIRD: bit(2), TOP: bit(31) });

test('names the flags that are set', () => {
  expect(field.names(0x80000005)).toEqual(['FIRST', 'THIRD', 'TOP']);
  expect(field.has(0x80000000, 'TOP')).toBe(true);
  expect(field.has(0x7fffffff, 'TOP')).toBe(false);
});

test('names each bit beyond those that are known, also where it has no name', () => {
  expect(field.beyond(0x80000005, ['FIRST', 'TOP'])).toEqual(['THIRD']);
  expect(field.beyond(0xc0000007, ['FIRST', 'THIRD'])).toEqual(['TOP', 'bit 1', 'bit 30']);
  expect(field.beyond(5, ['FIRST', 'THIRD', 'TOP'])).toEqual([]);
});
