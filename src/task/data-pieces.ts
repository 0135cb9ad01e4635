import { min, roundDown } from '../binary/convert.js';
import type { Range } from '../binary/range-set.js';
import { RangeSet } from '../binary/range-set.js';
import type { BlockDevice } from '../device/block-device.js';

/**
 * What of a device is not known to be zeros, in order, cut at multiples of `step`, so that every cut is one between host
 * blocks. Its `next` may be called by several workers at once.
 *
 * @param ranges where to look: the whole device unless given
 * @param step bytes
 */
export async function* dataPieces(
  disk: BlockDevice,
  step: bigint,
  signal: AbortSignal | undefined,
  ranges: RangeSet = RangeSet.of([{ offset: 0n, length: disk.facts.size }]),
): AsyncGenerator<Range, void, undefined> {
  for (const { offset, length } of ranges) {
    for await (const extent of disk.extents(offset, length, { signal })) {
      if (extent.zero) continue;
      const end = extent.offset + extent.length;
      for (let start = extent.offset; start < end; ) {
        const stop = min(roundDown(start, step) + step, end);
        yield { offset: start, length: stop - start };
        start = stop;
      }
    }
  }
}
