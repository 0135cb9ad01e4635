import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatDuration, formatSize, parseDuration, parseOffset, parseSize } from '../../src/cli/quantities.js';
import { DiskError } from '../../src/error/disk-error.js';

const largest = 2n ** 63n - 1n;

test.each([
  ['0', 0n],
  ['4096', 4096n],
  ['10G', 10n << 30n],
  ['10g', 10n << 30n],
  ['1.5T', 3n << 39n],
  ['7E', 7n << 60n],
  ['64KiB', 65536n],
  ['10MB', 10_000_000n],
  ['3s', 1536n],
  ['512B', 512n],
  ['2^63-1', largest],
  ['2^53+1', 2n ** 53n + 1n],
  ['0.3K', 307n],
])('reads %s as %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each(['', '-1', '1.5', 'G', '1GG', '10 GX', '0x10', '1e3', '2^64-1', '8E', '2^0-2', ' 1', '1K2', '9'.repeat(40)])(
  'refuses the size "%s" as wrong usage',
  (text) => {
    expect(() => parseSize(text)).toThrow(DiskError);
    expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  },
);

test.each([
  ['0x1000', 4096n],
  ['0X7FFFFFFFFFFFFFFF', largest],
  ['2056s', 1_052_672n],
  ['1M', 1n << 20n],
  ['0', 0n],
])('reads the offset %s as byte %d', (text, bytes) => {
  expect(parseOffset(text)).toBe(bytes);
});

test.each(['0x', '0xg', '0x8000000000000000', '-0x1', '0x1s', '', '1000h'])(
  'refuses the offset "%s" as wrong usage',
  (text) => {
    expect(() => parseOffset(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  },
);

test('reads back every number of bytes exactly', () => {
  fc.assert(fc.property(fc.bigInt(0n, largest), (bytes) => parseSize(bytes.toString()) === bytes));
});

test.each([
  [0n, '0'],
  [1023n, '1023'],
  [1024n, '1.0K'],
  [1536n, '1.5K'],
  [10n << 20n, '10M'],
  [(1n << 20n) - 1n, '1.0M'],
  [7n << 60n, '7.0E'],
  [largest, '8.0E'],
  [-2048n, '-2.0K'],
])('shows %d bytes as %s', (bytes, text) => {
  expect(formatSize(bytes)).toBe(text);
});

test('shows a size within a twentieth of what it is', () => {
  fc.assert(
    fc.property(fc.bigInt(1n, largest), (bytes) => {
      const shown = Number(parseSize(formatSize(bytes) === '8.0E' ? '2^63-1' : formatSize(bytes)));
      return Math.abs(shown - Number(bytes)) <= Number(bytes) / 20;
    }),
  );
});

test.each([
  ['10ms', 10],
  ['60s', 60_000],
  ['2m', 120_000],
  ['1.5h', 5_400_000],
  ['3', 3000],
  ['0', 0],
])('reads the time %s as %d ms', (text, time) => {
  expect(parseDuration(text)).toBe(time);
});

test.each(['', 's', '-1s', '1d', '1e3', '100h h', '1000h'])('refuses the time "%s" as wrong usage', (text) => {
  expect(() => parseDuration(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
});

test.each([
  [400, '0.4 s'],
  [12_000, '12 s'],
  [200_000, '3 min 20 s'],
  [7_500_000, '2 h 5 min'],
])('shows %d ms as %s', (time, text) => {
  expect(formatDuration(time)).toBe(text);
});
