import { max, min, roundDown, roundUp } from '../binary/convert.js';
import type { Range } from '../binary/range-set.js';

/** Offsets and lengths at the face of a device: 0 … 2^63 - 1. */
export type Bytes = bigint;

/**
 * What is known of a part of a device. Two truths, not one enum: whether it takes room below, and whether it reads as
 * zeros. Neither: nothing is known, so read it.
 */
export interface Extent extends Range {
  readonly allocated: boolean;
  readonly zero: boolean;
}

/** The part of `extent` that lies inside [start, end), or undefined. */
export function clip(extent: Extent, start: Bytes, end: Bytes): Extent | undefined {
  const from = max(extent.offset, start);
  const to = min(extent.offset + extent.length, end);
  return from < to ? { offset: from, length: to - from, allocated: extent.allocated, zero: extent.zero } : undefined;
}

/** True when the two say the same of neighbouring bytes. */
export function joins(a: Extent, b: Extent): boolean {
  return a.offset + a.length === b.offset && a.allocated === b.allocated && a.zero === b.zero;
}

/**
 * The same range in extents whose ends are multiples of `block`, but for the end of the device: a block in which two
 * extents meet is data.
 *
 * @param extents a tiling that starts at a multiple of `block`
 * @param size bytes of the device
 */
export async function* inWholeBlocks(
  extents: AsyncIterable<Extent>,
  block: Bytes,
  size: Bytes,
): AsyncGenerator<Extent, void, undefined> {
  let pending: Extent | undefined;
  let at: Bytes | undefined;
  let end = 0n;
  const parts = function* (extent: Extent): Generator<Extent> {
    const { offset, length, allocated, zero } = extent;
    at ??= offset;
    end = offset + length;
    const start = min(roundUp(offset, block), size);
    if (start > at && offset > at) {
      yield { offset: at, length: start - at, allocated: true, zero: false };
      at = start;
    }
    const stop = end === size ? end : roundDown(end, block);
    if (stop > at) {
      yield { offset: at, length: stop - at, allocated, zero };
      at = stop;
    }
  };
  for await (const extent of extents) {
    for (const part of parts(extent)) {
      if (pending !== undefined && joins(pending, part)) pending = { ...pending, length: pending.length + part.length };
      else {
        if (pending !== undefined) yield pending;
        pending = part;
      }
    }
  }
  if (pending !== undefined) yield pending;
  if (at !== undefined && end > at) yield { offset: at, length: end - at, allocated: true, zero: false };
}
