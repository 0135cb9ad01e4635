import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ascii, bytes, i32, i64, layout, u8, u16, u16s, u32, u32s, u64, viewOf } from '../../src/binary/layout.js';

const options = { size: 64, endian: 'little', spec: 'none' } as const;
const everything = {
  a: u8(0, '', ''),
  b: u16(1, '', ''),
  c: u32(3, '', ''),
  d: u64(7, '', ''),
  e: i32(15, '', ''),
  f: i64(19, '', ''),
  g: bytes(27, 5, '', ''),
  h: ascii(32, 6, '', ''),
  i: u16s(38, 3, '', ''),
  j: u32s(44, 2, '', ''),
};

test.each([
  ['overlap', { a: u32(0, '', ''), b: u8(3, '', '') }],
  ['run backwards', { a: u8(4, '', ''), b: u8(0, '', '') }],
  ['pass the size', { a: u64(57, '', '') }],
  ['begin before the structure', { a: u8(-1, '', '') }],
  ["have a view's own name", { base: u8(0, '', '') }],
])('refuses at load fields that %s', (_, fields) => {
  expect(() => layout('s', options, fields)).toThrow(/^s\./);
});

const value = fc.record({
  a: fc.nat(0xff),
  b: fc.nat(0xffff),
  c: fc.nat(0xffffffff),
  d: fc.bigInt(0n, 2n ** 64n - 1n),
  e: fc.integer(),
  f: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
  g: fc.uint8Array({ minLength: 5, maxLength: 5 }),
  h: fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: 6 }).map((codes) => String.fromCharCode(...codes)),
  i: fc.array(fc.nat(0xffff), { minLength: 3, maxLength: 3 }),
  j: fc.array(fc.nat(0xffffffff), { minLength: 2, maxLength: 2 }),
});

test.each(['little', 'big'] as const)('reads back what it put, and touches nothing else (%s-endian)', (endian) => {
  const structure = layout('s', { ...options, endian }, everything);
  fc.assert(
    fc.property(value, fc.nat(20), (values, base) => {
      const memory = new Uint8Array(200).fill(0xcc);
      const view = viewOf(memory.subarray(50, 150));
      structure.put(view, values, base);
      expect(structure.values(view, base)).toEqual(values);
      expect(memory.subarray(0, 50 + base).every((byte) => byte === 0xcc)).toBe(true);
      expect(memory.subarray(50 + base + 52).every((byte) => byte === 0xcc)).toBe(true);
    }),
  );
});

test('agrees with the byte order of DataView', () => {
  const big = layout('s', { ...options, endian: 'big' }, { x: u16(2, '', ''), y: u64(4, '', '') });
  const memory = new Uint8Array(64);
  big.put(viewOf(memory), { x: 0x1234, y: 1n });
  expect([...memory.subarray(0, 12)]).toEqual([0, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 1]);
});

test('refuses a place where the structure does not fit, to read and to write', () => {
  const structure = layout('s', options, everything);
  const view = viewOf(new Uint8Array(100).subarray(0, 64));
  expect(() => structure.at(view, 1)).toThrow(RangeError);
  expect(() => structure.at(view, -1)).toThrow(RangeError);
  expect(() => structure.put(view, { g: new Uint8Array(5) }, 40)).toThrow(RangeError);
});

test.each([
  ['a', 256],
  ['a', -1],
  ['a', 1.5],
  ['a', Number.NaN],
  ['b', 65536],
  ['c', 2 ** 32],
  ['c', 1n],
  ['d', 2n ** 64n],
  ['d', -1n],
  ['d', 1],
  ['e', 2 ** 31],
  ['f', 2n ** 63n],
  ['g', new Uint8Array(4)],
  ['h', 'seven77'],
  ['h', '€'],
  ['h', 'a\0b'],
  ['i', [1, 2]],
  ['i', [1, 2, 65536]],
  ['j', 5],
])('refuses to cut off what field %s cannot hold: %s', (field, wrong) => {
  const structure = layout('s', options, everything);
  const wrongly: Record<string, unknown> = { [field]: wrong };
  expect(() => structure.put(viewOf(new Uint8Array(64)), wrongly)).toThrow(RangeError);
});

test('refuses assignment to a view', () => {
  const view = layout('s', options, everything).at(viewOf(new Uint8Array(64)));
  expect(() => Object.assign(view, { a: 1 })).toThrow(TypeError);
});

test('shows bytes where they lie, and text up to its first NUL', () => {
  const memory = new Uint8Array(64);
  const view = layout('s', options, everything).at(viewOf(memory));
  memory.set([9, 8, 7], 27);
  memory.set([0x64, 0xe9, 0, 0x78], 32);
  expect([...view.g]).toEqual([9, 8, 7, 0, 0]);
  expect(view.h).toBe('dé');
});
