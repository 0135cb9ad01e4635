import { max, min } from '../binary/convert.js';
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
