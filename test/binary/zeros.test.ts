import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isZero, zeroRuns, zeros } from '../../src/binary/zeros.js';

function runs(bytes: Uint8Array, block: number): [number, number, boolean][] {
  const found: [number, number, boolean][] = [];
  zeroRuns(bytes, block, (...run) => found.push(run));
  return found;
}

test('sees a single byte at any place, past the shared mebibyte too', () => {
  const bytes = new Uint8Array(zeros.length * 2 + 7);
  expect(isZero(bytes)).toBe(true);
  expect(isZero(bytes.subarray(0, 0))).toBe(true);
  for (const at of [0, 1, zeros.length - 1, zeros.length, bytes.length - 1]) {
    bytes[at] = 1;
    expect(isZero(bytes)).toBe(false);
    bytes[at] = 0;
  }
});

test('tiles memory with runs that alternate, each of whole blocks', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(0, 0, 0, 1), { maxLength: 200 }),
      fc.integer({ min: 1, max: 20 }),
      (all, block) => {
        const bytes = Uint8Array.from(all);
        let at = 0;
        let last: boolean | undefined;
        for (const [start, end, zero] of runs(bytes, block)) {
          expect(start).toBe(at);
          expect(start % block).toBe(0);
          expect(zero).not.toBe(last);
          for (let i = start; i < end; i += block) {
            expect(bytes.subarray(i, Math.min(i + block, end)).every((byte) => byte === 0)).toBe(zero);
          }
          at = end;
          last = zero;
        }
        expect(at).toBe(bytes.length);
      },
    ),
  );
});

test('takes blocks larger than the shared mebibyte', () => {
  const bytes = new Uint8Array(5 << 20);
  bytes[(2 << 20) - 1] = 1;
  expect(runs(bytes, 2 << 20)).toEqual([
    [0, 2 << 20, false],
    [2 << 20, 5 << 20, true],
  ]);
});

test('leaves the shared zeros zero', () => {
  expect(zeros.every((byte) => byte === 0)).toBe(true);
});
