import type { Range } from '../binary/range-set.js';
import { BlockDevice, type RequestOptions } from '../device/block-device.js';
import { type Bytes, type Extent, joins } from '../device/extent.js';
import { firstExtents } from '../device/first-extents.js';
import { DiskError } from '../error/disk-error.js';
import { hex } from '../error/message.js';

/** What is known of a part of an image's disk, in the words of `qemu-img map` (QEMU's docs/tools/qemu-img: map). */
export interface Allocation extends Range {
  /** Which image of the chain tells of it: 0 is the image itself, 1 its backing file. */
  readonly depth: number;
  /** Whether that image tells of it; if not, it reads as zeros since nobody tells of it. */
  readonly present: boolean;
  readonly zero: boolean;
  readonly data: boolean;
  readonly compressed: boolean;
  /** It takes no room: nobody has written it, or the file has a hole there. */
  readonly hole: boolean;
  /** Bytes from the start of the file in which it lies as it is, or would lie. */
  readonly place: Bytes | undefined;
}

export interface AllocationOptions extends RequestOptions {
  /** Without it, `place` is undefined everywhere, and what lies apart in the file is told in one. */
  readonly places: boolean;
}

/** A disk that knows more of its parts than their extents: what stands where, and in which image. */
export abstract class ImageDevice extends BlockDevice {
  /**
   * One or more pieces in order, the first of which holds the byte at `offset`; none passes the range, which is one of
   * the disk, and not empty.
   */
  abstract firstAllocations(offset: Bytes, length: Bytes, options: AllocationOptions): Promise<readonly Allocation[]>;

  protected async doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    const extents: Extent[] = [];
    for (const part of await this.firstAllocations(offset, length, { ...options, places: false })) {
      const extent = { offset: part.offset, length: part.length, allocated: part.data, zero: part.zero };
      const last = extents.at(-1);
      if (last !== undefined && joins(last, extent)) {
        extents[extents.length - 1] = { ...last, length: last.length + extent.length };
      } else extents.push(extent);
    }
    return extents;
  }
}

/** As {@link ImageDevice.firstAllocations}, of any device: a place in it is one in a file when it is `plain`. */
export async function firstAllocations(
  device: BlockDevice,
  offset: Bytes,
  length: Bytes,
  { plain, ...options }: AllocationOptions & { readonly plain: boolean },
): Promise<readonly Allocation[]> {
  if (device instanceof ImageDevice) return await device.firstAllocations(offset, length, options);
  const extents = await firstExtents(device, offset, length, options);
  return extents.map(({ offset, length, allocated, zero }) => {
    const present = allocated || zero;
    const place = plain && present && options.places ? offset : undefined;
    return { offset, length, depth: 0, present, zero, data: allocated, compressed: false, hole: !allocated, place };
  });
}

/**
 * Tiles a disk with the largest pieces of which one thing is known, in order.
 *
 * @param options `plain`: the bytes of the device are those of a file
 * @throws {DiskError} as {@link BlockDevice.extents} does
 */
export async function* allocations(
  device: BlockDevice,
  options: AllocationOptions & { readonly plain: boolean },
): AsyncGenerator<Allocation, void, undefined> {
  const { size } = device.facts;
  let pending: Allocation | undefined;
  for (let at = 0n; at < size; ) {
    if (options.signal?.aborted) throw DiskError.cancelled(options.signal);
    const before = at;
    for (const part of await firstAllocations(device, at, size - at, options)) {
      if (part.offset !== at) break;
      at += part.length;
      if (pending !== undefined && continues(pending, part)) {
        pending = { ...pending, length: pending.length + part.length };
      } else {
        if (pending !== undefined) yield pending;
        pending = part;
      }
    }
    if (at === before) throw new DiskError('IO', `${device.name}: reported no extent at byte ${hex(at)}`);
  }
  if (pending !== undefined) yield pending;
}

/** True when the two say the same of neighbouring bytes, which lie in a row in the file as well if they lie there. */
export function continues(a: Allocation, b: Allocation): boolean {
  return (
    a.offset + a.length === b.offset &&
    a.depth === b.depth &&
    a.present === b.present &&
    a.zero === b.zero &&
    a.data === b.data &&
    a.compressed === b.compressed &&
    a.hole === b.hole &&
    (a.place === undefined ? b.place === undefined : a.place + a.length === b.place)
  );
}
