import { max, min, roundDown, roundUp } from '../../binary/convert.js';
import { isZero } from '../../binary/zeros.js';
import { DiskError } from '../../error/disk-error.js';
import type { BlockDevice, RequestOptions, WriteOptions, ZeroOptions } from '../block-device.js';
import { done } from '../block-device.js';
import type { Bytes, Extent } from '../extent.js';
import { firstExtents } from '../first-extents.js';
import { Layer } from './layer.js';

const largest = 2n ** 63n - 1n;

export interface Rounding {
  /** Bytes: the size is rounded to a multiple of this. */
  readonly to: Bytes;
  readonly direction: 'up' | 'down';
}

/**
 * A device whose size is a multiple of something, for clients that know whole sectors alone. Rounded up, what is too much
 * reads as zeros and holds nothing else; rounded down, the end is not to be seen.
 */
export class RoundLayer extends Layer {
  readonly name: string;

  /** @throws {DiskError} USAGE when a size past 2^63 - 1 would come of it */
  constructor(below: BlockDevice, { to, direction }: Rounding) {
    const { size } = below.facts;
    const rounded = direction === 'up' ? roundUp(size, to) : roundDown(size, to);
    if (rounded > largest) {
      throw new DiskError('USAGE', `${below.name}: its size rounded up to ${to} bytes passes 2^63-1: round it down`);
    }
    super(below, { size: rounded, extents: true });
    this.name = `${below.name} rounded ${direction} to ${to}`;
  }

  protected doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    const inside = this.#inside(offset, BigInt(into.length));
    into.subarray(inside).fill(0);
    return inside === 0 ? done : this.below.read(into.subarray(0, inside), offset, options);
  }

  protected doWrite(from: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void> {
    const inside = this.#inside(offset, BigInt(from.length));
    if (!isZero(from.subarray(inside))) {
      return Promise.reject(
        new DiskError('IO', `write at byte ${offset} of ${this.name}: only zeros go where it was rounded up`, {
          device: this.name,
          offset,
          errno: 'ENOSPC',
        }),
      );
    }
    return inside === 0 ? done : this.below.write(from.subarray(0, inside), offset, options);
  }

  protected doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    return this.below.zero(...this.#clip(offset, length), options);
  }

  protected doTrim(offset: Bytes, length: Bytes, options: WriteOptions): Promise<void> {
    return this.below.trim(...this.#clip(offset, length), options);
  }

  protected doFlush(options: RequestOptions): Promise<void> {
    return this.below.flush(options);
  }

  protected async doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    const [start, inside] = this.#clip(offset, length);
    if (inside === 0n) return [{ offset, length, allocated: false, zero: true }];
    return await firstExtents(this.below, start, inside, options);
  }

  /** Bytes of a request that lie on the device below. */
  #inside(offset: Bytes, length: Bytes): number {
    return Number(this.#clip(offset, length)[1]);
  }

  #clip(offset: Bytes, length: Bytes): [offset: Bytes, length: Bytes] {
    const end = this.below.facts.size;
    const start = min(offset, end);
    return [start, max(0n, min(offset + length, end) - start)];
  }
}
