import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Range, RangeSet } from '../../src/binary/range-set.js';

const space = 64;
const ranges = fc.array(
  fc.tuple(fc.nat(space), fc.nat(12)).map(([offset, length]) => ({ offset: BigInt(offset), length: BigInt(length) })),
  { maxLength: 12 },
);

function naive(all: readonly Range[]): Set<number> {
  const members = new Set<number>();
  for (const { offset, length } of all) for (let i = 0; i < length; i++) members.add(Number(offset) + i);
  return members;
}

function members(set: RangeSet): number[] {
  return [...naive([...set])].sort((a, b) => a - b);
}

function expectCanonical(set: RangeSet): void {
  let end: bigint | undefined;
  for (const { offset, length } of set) {
    expect(length > 0n).toBe(true);
    if (end !== undefined) expect(offset > end).toBe(true);
    end = offset + length;
  }
  expect(set.count).toBe([...set].length);
}

function expectMembers(set: RangeSet, wanted: (i: number) => boolean): void {
  expectCanonical(set);
  const all = Array.from({ length: space + 40 }, (_, i) => i).filter(wanted);
  expect(members(set)).toEqual(all);
  expect(set.total).toBe(BigInt(all.length));
}

test('is the union of ranges in any order, joined and ascending', () => {
  fc.assert(
    fc.property(ranges, (all) => {
      const model = naive(all);
      const set = RangeSet.of(all);
      expectMembers(set, (i) => model.has(i));
      for (let i = 0; i < space + 20; i++) expect(set.has(BigInt(i))).toBe(model.has(i));
    }),
  );
});

test('unites, intersects, subtracts and complements as sets do', () => {
  fc.assert(
    fc.property(ranges, ranges, fc.nat(space), fc.nat(20), (a, b, offset, length) => {
      const [left, right] = [RangeSet.of(a), RangeSet.of(b)];
      const [x, y] = [naive(a), naive(b)];
      const inside = (i: number) => i >= offset && i < offset + length;
      expectMembers(left.union(right), (i) => x.has(i) || y.has(i));
      expectMembers(left.intersect(right), (i) => x.has(i) && y.has(i));
      expectMembers(left.subtract(right), (i) => x.has(i) && !y.has(i));
      expectMembers(left.complement(BigInt(offset), BigInt(length)), (i) => inside(i) && !x.has(i));
      expectMembers(left.clip(BigInt(offset), BigInt(length)), (i) => inside(i) && x.has(i));
      expect(members(left)).toEqual([...x].sort((p, q) => p - q));
    }),
  );
});

test('keeps whole blocks only, each of them wholly in the set', () => {
  fc.assert(
    fc.property(ranges, fc.integer({ min: 1, max: 9 }), (all, block) => {
      const model = naive(all);
      const whole = (i: number) => {
        const start = i - (i % block);
        return Array.from({ length: block }, (_, k) => start + k).every((k) => model.has(k));
      };
      expectMembers(RangeSet.of(all).roundInwards(BigInt(block)), whole);
    }),
  );
});

test('drops ranges that are too short, and moves', () => {
  fc.assert(
    fc.property(ranges, fc.nat(12), fc.nat(100), (all, least, delta) => {
      const set = RangeSet.of(all);
      expect([...set.atLeast(BigInt(least))]).toEqual([...set].filter(({ length }) => length >= BigInt(least)));
      expect([...set.shift(BigInt(delta)).shift(BigInt(-delta))]).toEqual([...set]);
    }),
  );
});

test('holds everything up to the largest offset, and refuses what lies outside rather than wrapping', () => {
  const whole = RangeSet.of([{ offset: 0n, length: 2n ** 63n - 1n }]);
  expect(whole.total).toBe(2n ** 63n - 1n);
  expect(whole.has(2n ** 63n - 2n)).toBe(true);
  expect(whole.has(2n ** 63n - 1n)).toBe(false);
  expect(() => RangeSet.of([{ offset: 2n ** 63n - 1n, length: 1n }])).toThrow(RangeError);
  expect(() => RangeSet.of([{ offset: -1n, length: 5n }])).toThrow(RangeError);
  expect(() => whole.shift(1n)).toThrow(RangeError);
  expect(() => RangeSet.of([{ offset: 5n, length: 5n }]).shift(-6n)).toThrow(RangeError);
});

test('takes a hundred thousand ranges, unsorted too', () => {
  const count = 100_000;
  const sorted = Array.from({ length: count }, (_, i) => ({ offset: BigInt(i * 10), length: 3n }));
  const set = RangeSet.of(sorted);
  expect(set.count).toBe(count);
  expect([...RangeSet.of(sorted.toReversed())]).toEqual([...set]);
  expect(set.union(set.shift(3n)).total).toBe(BigInt(count * 6));
});

test('tells the run that a byte lies in, and the ranges of a part one by one', () => {
  fc.assert(
    fc.property(ranges, fc.nat(space), fc.integer({ min: 1, max: 30 }), (all, offset, length) => {
      const model = naive(all);
      const set = RangeSet.of(all);
      const { inside, end } = set.run(BigInt(offset), BigInt(offset + length));
      expect(inside).toBe(model.has(offset));
      for (let i = offset; i < Number(end); i++) expect(model.has(i)).toBe(inside);
      if (Number(end) < offset + length) expect(model.has(Number(end))).toBe(!inside);
      expect([...set.within(BigInt(offset), BigInt(length))]).toEqual([...set.clip(BigInt(offset), BigInt(length))]);
    }),
  );
});
