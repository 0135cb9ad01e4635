import fc from 'fast-check';
import { expect, test } from 'vitest';
import { eachClearRun } from '../../src/binary/bitmap.js';

function clearRuns(bitmap: Uint8Array, count: number): [number, number][] {
  const runs: [number, number][] = [];
  eachClearRun(bitmap, count, (start, end) => runs.push([start, end]));
  return runs;
}

test('finds the clear bits one by one, lowest bit of a byte first', () => {
  expect(clearRuns(Uint8Array.of(0b1111_1110, 0b0111_1111), 16)).toEqual([
    [0, 1],
    [15, 16],
  ]);
});

test('joins what is clear across bytes', () => {
  expect(clearRuns(Uint8Array.of(0b0000_1111, 0, 0b1111_1100), 24)).toEqual([[4, 18]]);
});

test('takes all for clear, or nothing', () => {
  expect(clearRuns(new Uint8Array(4), 32)).toEqual([[0, 32]]);
  expect(clearRuns(new Uint8Array(4).fill(0xff), 32)).toEqual([]);
  expect(clearRuns(new Uint8Array(4), 0)).toEqual([]);
});

test('leaves padding alone, wherever in a byte it begins', () => {
  for (let count = 1; count <= 24; count++) expect(clearRuns(new Uint8Array(3), count)).toEqual([[0, count]]);
});

test('takes bits that the bitmap does not hold for set', () => {
  expect(clearRuns(new Uint8Array(1), 100)).toEqual([[0, 8]]);
});

test('agrees with looking at every bit', () => {
  const byte = fc.oneof(fc.constantFrom(0, 0xff), fc.nat(255));
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 40 }), fc.nat(7), (bytes, short) => {
      const count = Math.max(0, bytes.length * 8 - short);
      const clear = new Set<number>();
      for (let i = 0; i < count; i++) if ((((bytes[i >> 3] ?? 0) >> (i & 7)) & 1) === 0) clear.add(i);
      const runs = clearRuns(Uint8Array.from(bytes), count);
      expect(runs.flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => start + i))).toEqual([
        ...clear,
      ]);
      // As long as can be: what stands before and behind a run is set, or nothing.
      for (const [start, end] of runs) expect([clear.has(start - 1), clear.has(end)]).toEqual([false, false]);
    }),
  );
});
