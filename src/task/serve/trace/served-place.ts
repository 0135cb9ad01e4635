import { min } from '../../../binary/convert.js';
import type { Placement } from '../../../binary/placement.js';
import type { Range, RangeSet } from '../../../binary/range-set.js';

/** Tells `visit` where on the disk bytes of what is served lie, in runs: bytes from the start of the disk. */
export type Locate = (offset: number, length: number, visit: (start: number, end: number) => void) => void;

/** Which part of a disk is served: of a volume, the whole or a range. */
export interface ServedPlace {
  readonly placement: Placement;
  readonly range?: Range | undefined;
}

/** What lies past the end, where a size was rounded up, is nowhere on the disk. */
export function locateIn({ placement, range }: ServedPlace): Locate {
  const base = range?.offset ?? 0n;
  const size = min(range?.length ?? placement.size, placement.size - base);
  const inRow = placement.offset;
  if (inRow === undefined) {
    return (offset, length, visit) => {
      const from = BigInt(offset);
      for (const run of placement.locate(base + from, min(BigInt(length), size - from))) {
        visit(Number(run.offset), Number(run.offset + run.length));
      }
    };
  }
  const shift = Number(inRow + base);
  const end = Number(size);
  return (offset, length, visit) => {
    if (offset < end) visit(shift + offset, shift + Math.min(offset + length, end));
  };
}

/** Of bytes of the disk those that are served, in bytes from the start of what is. */
export function servedOf({ placement, range }: ServedPlace, onDisk: RangeSet): RangeSet {
  const inVolume = placement.fromDisk(onDisk);
  if (range === undefined) return inVolume;
  return inVolume.clip(range.offset, range.length).shift(-range.offset);
}
