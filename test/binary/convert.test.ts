import { expect, test } from 'vitest';
import { checkIndex, max, min, roundDown, roundUp, toNumber } from '../../src/binary/convert.js';

test('converts what a number holds exactly', () => {
  for (const value of [0n, 1n, -1n, 2n ** 53n - 1n, -(2n ** 53n) + 1n]) expect(BigInt(toNumber(value))).toBe(value);
});

test.each([2n ** 53n, 2n ** 53n + 1n, 2n ** 64n, -(2n ** 53n), 10n ** 400n])(
  'refuses %d, naming the field',
  (value) => {
    expect(() => toNumber(value, { structure: 's', field: 'f' })).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', facts: expect.objectContaining({ field: 'f', actual: value }) }),
    );
  },
);

test('takes every index below the count, and no other', () => {
  expect([0, 1, 2].map((index) => checkIndex(index, 3, {}))).toEqual([0, 1, 2]);
  for (const index of [-1, 3, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => checkIndex(index, 3, { field: 'n' })).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
  }
  expect(() => checkIndex(0, 0, { structure: 'table', field: 'n' })).toThrow('table: n is 0, expected none');
});

test('rounds to multiples of any unit', () => {
  expect([0n, 1n, 511n, 512n, 513n].map((value) => roundUp(value, 512n))).toEqual([0n, 512n, 512n, 512n, 1024n]);
  expect([0n, 1n, 511n, 512n, 513n].map((value) => roundDown(value, 512n))).toEqual([0n, 0n, 0n, 512n, 512n]);
  expect([roundUp(10n, 3n), roundDown(10n, 3n)]).toEqual([12n, 9n]);
  expect([min(1n, 2n), max(1n, 2n), min(2n, 1n), max(2n, 1n)]).toEqual([1n, 2n, 1n, 2n]);
});
