import { expect, test } from 'vitest';
import { crc16, crc32Be, rawCrc32c } from '../../src/binary/crc.js';

const digits = new TextEncoder().encode('123456789');

test('crc32c of the nine digits is the check value of the catalogue of CRCs', () => {
  // CRC-32/ISCSI starts from all ones and ends complemented: 0xe3069283.
  expect(rawCrc32c(0xffff_ffff, digits)).toBe(~0xe306_9283 >>> 0);
});

test('crc16 of the nine digits is the check values of CRC-16/ARC and CRC-16/MODBUS', () => {
  expect(crc16(0, digits)).toBe(0xbb3d);
  expect(crc16(0xffff, digits)).toBe(0x4b37);
});

test('crc32 with the highest bit first of the nine digits is the check value of CRC-32/BZIP2, not complemented', () => {
  expect(crc32Be(0xffff_ffff, digits)).toBe(~0xfc89_1918 >>> 0);
});

test.each([
  ['crc32c', rawCrc32c, 0xffff_ffff],
  ['crc32 with the highest bit first', crc32Be, 0xffff_ffff],
  ['crc16', crc16, 0xffff],
] as const)('%s of the pieces, one the seed of the next, is that of the whole', (_, crc, seed) => {
  for (let at = 0; at <= digits.length; at++) {
    expect(crc(crc(seed, digits.subarray(0, at)), digits.subarray(at))).toBe(crc(seed, digits));
  }
});

test.each([
  ['crc32c', rawCrc32c],
  ['crc32 with the highest bit first', crc32Be],
  ['crc16', crc16],
] as const)('%s of nothing is its seed', (_, crc) => {
  expect(crc(0x1234, new Uint8Array(0))).toBe(0x1234);
});
