import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Placement } from '../../src/binary/placement.js';
import { RangeSet } from '../../src/binary/range-set.js';

/** Segments of a volume one behind the other, each area of them somewhere of its own. */
const placement = fc
  .array(
    fc.record({
      areas: fc.integer({ min: 1, max: 3 }),
      stripe: fc.integer({ min: 1, max: 4 }),
      rounds: fc.integer({ min: 1, max: 4 }),
    }),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map((segments) => {
    let next = 7n;
    return new Placement(
      segments.map(({ areas, stripe, rounds }) => {
        const stripeSize = BigInt(stripe);
        const each = stripeSize * BigInt(rounds);
        const starts = Array.from({ length: areas }, () => {
          const start = next;
          next += each + 3n;
          return start;
        });
        return { length: each * BigInt(areas), stripeSize, areas: starts.toReversed() };
      }),
    );
  });

test('what is found on the disk of some bytes of a volume is found back as the same bytes', () => {
  fc.assert(
    fc.property(
      placement,
      fc.array(fc.tuple(fc.nat(100), fc.integer({ min: 1, max: 20 })), { maxLength: 4 }),
      (placed, pairs) => {
        const wanted = RangeSet.of(pairs.map(([at, length]) => ({ offset: BigInt(at), length: BigInt(length) })));
        const inside = wanted.clip(0n, placed.size);
        expect([...placed.fromDisk(placed.toDisk(inside))]).toEqual([...inside]);
        // What is nobody's adds nothing.
        expect([...placed.fromDisk(RangeSet.of([{ offset: 0n, length: 10_000n }]))]).toEqual([
          { offset: 0n, length: placed.size },
        ]);
      },
    ),
  );
});
