import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Extent, inWholeBlocks, joins } from '../../src/device/extent.js';

/** A tiling from 0 on, no two alike in a row. */
const tiling = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.constantFrom('data', 'zero', 'hole')), {
    minLength: 1,
    maxLength: 12,
  })
  .map((pieces) => {
    const extents: Extent[] = [];
    let at = 0n;
    for (const [size, kind] of pieces) {
      const length = BigInt(size);
      const extent = { offset: at, length, allocated: kind !== 'hole', zero: kind !== 'data' };
      const last = extents.at(-1);
      if (last !== undefined && joins(last, extent))
        extents[extents.length - 1] = { ...last, length: last.length + length };
      else extents.push(extent);
      at += length;
    }
    return extents;
  });

test('extents in whole blocks tile the same range, and call zero only what was zero', async () => {
  await fc.assert(
    fc.asyncProperty(tiling, fc.constantFrom(1n, 2n, 8n, 16n), async (extents, block) => {
      const size = extents.reduce((sum, { length }) => sum + length, 0n);
      const source = (async function* () {
        yield* extents;
      })();
      const found: Extent[] = [];
      for await (const extent of inWholeBlocks(source, block, size)) found.push(extent);
      let at = 0n;
      for (const { offset, length, zero, allocated } of found) {
        expect(offset).toBe(at);
        at += length;
        expect(at % block === 0n || at === size).toBe(true);
        if (!zero) continue;
        const inside = extents.filter((extent) => extent.offset < at && extent.offset + extent.length > offset);
        expect(inside.every((extent) => extent.zero && extent.allocated === allocated)).toBe(true);
      }
      expect(at).toBe(size);
      if (block === 1n) expect(found).toEqual(extents);
    }),
    { numRuns: 300 },
  );
});
