import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BlockSet } from '../../src/binary/block-set.js';

/** Blocks around which bitmaps and whole chunks meet. */
const block = fc.oneof(
  fc.nat(70_000),
  fc.constantFrom(0, 32_767, 32_768, 65_535, 65_536, 98_304).chain((near) => fc.nat(20).map((d) => near + d)),
);

test('holds the blocks that were added, tells how many were new, and its runs tile any range with them', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(block, block), { maxLength: 8 }), (pairs) => {
      const set = new BlockSet();
      const model = new Uint8Array(100_000);
      for (const [a, b] of pairs) {
        const [start, end] = [Math.min(a, b), Math.max(a, b)];
        const fresh = model.subarray(start, end).filter((bit) => bit === 0).length;
        expect(set.add(start, end)).toBe(fresh);
        model.fill(1, start, end);
      }
      for (let at = 0; at < model.length; ) {
        const { end, inside } = set.run(at, model.length);
        expect(end > at && end <= model.length).toBe(true);
        expect(model.subarray(at, end).every((bit) => (bit === 1) === inside)).toBe(true);
        at = end;
      }
      for (const [start] of pairs) expect(set.has(start)).toBe(model[start] === 1);
    }),
    { numRuns: 200 },
  );
});

test('finds two blocks at the ends of 2^51 in three runs', () => {
  const set = new BlockSet();
  const last = 2 ** 51 - 1;
  set.add(0, 1);
  set.add(last, last + 1);
  expect(set.run(0, last + 1)).toEqual({ end: 1, inside: true });
  let runs = 0;
  for (let at = 1; at < last; runs++) at = set.run(at, last).end;
  expect(runs).toBeLessThan(4);
  expect(set.run(last, last + 1)).toEqual({ end: last + 1, inside: true });
});

test('takes all of 2^51 blocks at once', () => {
  const set = new BlockSet();
  set.add(3, 2 ** 51);
  expect([set.has(2), set.has(3), set.has(2 ** 51 - 1)]).toEqual([false, true, true]);
});
