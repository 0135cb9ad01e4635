import { min, toNumber } from '../../binary/convert.js';
import type { Placement } from '../../binary/placement.js';
import { type Range, RangeSet } from '../../binary/range-set.js';
import {
  BlockDevice,
  type DeviceFacts,
  type RequestOptions,
  type WriteOptions,
  type ZeroOptions,
} from '../block-device.js';
import type { Bytes, Extent } from '../extent.js';
import { firstExtents } from '../first-extents.js';
import { Slice } from './slice.js';

/** The volume with this placement on a disk: in a row it is a part of it as any other, which keeps what is faster so. */
export function placedOn(disk: BlockDevice, placement: Placement, name: string): BlockDevice {
  const { offset, size } = placement;
  return offset === undefined ? new Joined(disk, placement, name) : new Slice(disk, offset, size, name);
}

/**
 * Pieces of a disk in one row: a logical volume. It borrows what lies under it, as a slice does: closing it leaves the
 * disk open. A request for several pieces is carried out piece by piece.
 */
export class Joined extends BlockDevice {
  readonly facts: DeviceFacts;

  /**
   * @param name of the volume; the disk's is added
   * @param placement where its bytes lie on `below`, all of them inside
   */
  constructor(
    private readonly below: BlockDevice,
    private readonly placement: Placement,
    readonly name: string,
  ) {
    super();
    this.facts = Object.freeze({
      ...below.facts,
      size: placement.size,
      hostFile: undefined,
      guardedFile: undefined,
    });
  }

  protected doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    return this.#each(offset, BigInt(into.length), (at, length, done) =>
      this.below.read(into.subarray(toNumber(done), toNumber(done + length)), at, options),
    );
  }

  protected doWrite(from: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void> {
    return this.#each(offset, BigInt(from.length), (at, length, done) =>
      this.below.write(from.subarray(toNumber(done), toNumber(done + length)), at, options),
    );
  }

  protected async doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    for (const run of this.#onDisk(offset, length)) await this.below.zero(run.offset, run.length, options);
  }

  protected async doTrim(offset: Bytes, length: Bytes, options: WriteOptions): Promise<void> {
    for (const run of this.#onDisk(offset, length)) await this.below.trim(run.offset, run.length, options);
  }

  protected doFlush(options: RequestOptions): Promise<void> {
    return this.below.flush(options);
  }

  /** As far as all areas of a segment are of one kind, it is told at once, however short its stripes are. */
  protected async doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    const areas = this.placement.areasAt(offset, length);
    const [only, ...others] = areas;
    if (only !== undefined && others.length === 0) {
      const batch = await firstExtents(this.below, only.offset, only.length, options);
      return batch.map((extent) => ({ ...extent, offset: only.inVolume(extent.offset) }));
    }
    const firsts: { extent: Extent; start: Bytes; end: Bytes }[] = [];
    for (const area of areas) {
      for await (const extent of this.below.extents(area.offset, area.length, options)) {
        const end = extent.offset + extent.length;
        const last = end === area.offset + area.length;
        firsts.push({
          extent,
          start: area.inVolume(area.offset),
          end: last ? offset + length : area.inVolume(end),
        });
        break;
      }
    }
    const first = firsts.find(({ start }) => start === offset);
    if (first === undefined) return [];
    const { allocated, zero } = first.extent;
    const end = firsts
      .map((each) => (each.extent.allocated === allocated && each.extent.zero === zero ? each.end : each.start))
      .reduce(min, this.placement.segmentEnd(offset));
    return [{ offset, length: end - offset, allocated, zero }];
  }

  protected doPeek(): undefined {
    return undefined;
  }

  protected doClose(): Promise<void> {
    return Promise.resolve();
  }

  #onDisk(offset: Bytes, length: Bytes): Iterable<Range> {
    return this.placement.toDisk(RangeSet.of([{ offset, length }]));
  }

  async #each(
    offset: Bytes,
    length: Bytes,
    act: (at: Bytes, length: Bytes, done: Bytes) => Promise<void>,
  ): Promise<void> {
    let done = 0n;
    for (const piece of this.placement.locate(offset, length)) {
      await act(piece.offset, piece.length, done);
      done += piece.length;
    }
  }
}
