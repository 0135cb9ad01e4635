import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../block-device.js';
import type { Bytes, Extent } from '../extent.js';
import { firstExtents } from '../first-extents.js';
import { Layer } from './layer.js';

/** A read-only view in which some ranges are holes: they read as zeros, whatever lies under them. */
export class HolesLayer extends Layer {
  readonly name: string;

  constructor(
    below: BlockDevice,
    private readonly holes: RangeSet,
  ) {
    super(below, { writable: false, trim: false, zero: 'none', fastZero: false, fua: 'none', extents: true });
    this.name = `holes over ${below.name}`;
  }

  protected async doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    const length = BigInt(into.length);
    const part = (start: Bytes, size: Bytes) => into.subarray(Number(start - offset), Number(start - offset + size));
    for (const hole of this.holes.clip(offset, length)) part(hole.offset, hole.length).fill(0);
    for (const data of this.holes.complement(offset, length)) {
      await this.below.read(part(data.offset, data.length), data.offset, options);
    }
  }

  protected async doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    const [hole] = this.holes.clip(offset, length);
    if (hole?.offset === offset) return [{ ...hole, allocated: false, zero: true }];
    return await firstExtents(this.below, offset, hole === undefined ? length : hole.offset - offset, options);
  }

  protected doWrite(): Promise<void> {
    return Promise.reject(this.readOnly('write'));
  }

  protected doZero(): Promise<void> {
    return Promise.reject(this.readOnly('zero'));
  }

  protected doTrim(): Promise<void> {
    return Promise.reject(this.readOnly('trim'));
  }

  protected doFlush(options: RequestOptions): Promise<void> {
    return this.below.flush(options);
  }
}
