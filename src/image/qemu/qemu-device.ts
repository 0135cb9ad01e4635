import type { BlockDevice, RequestOptions, WriteOptions, ZeroOptions } from '../../device/block-device.js';
import type { Bytes, Extent } from '../../device/extent.js';
import { firstExtents } from '../../device/first-extents.js';
import { Layer } from '../../device/layer/layer.js';

export interface QemuDeviceOptions {
  /** Bytes: what the format allocates by. */
  readonly blockSize?: number | undefined;
  readonly owned: readonly BlockDevice[];
  /** Waits for QEMU to end. Resolves to whether it did so in good order. */
  readonly end: () => Promise<boolean>;
}

/** The disk in an image that QEMU has opened for us. */
export class QemuDevice extends Layer {
  readonly name: string;
  readonly #owned: readonly BlockDevice[];
  readonly #end: () => Promise<boolean>;
  #endedWell = false;

  constructor(below: BlockDevice, { blockSize, owned, end }: QemuDeviceOptions) {
    const { minimum, preferred, maximum } = below.facts.blockSize;
    super(below, {
      // A part of a cluster is zeroed by writing, which QEMU refuses to call fast.
      fastZero: false,
      blockSize: Object.freeze({ minimum, preferred: Math.max(preferred, blockSize ?? 0), maximum }),
    });
    this.name = below.name;
    this.#owned = owned;
    this.#end = end;
  }

  /** Once it is closed: whether QEMU has written all that it does at the end, and not been ended by somebody else before. */
  get endedWell(): boolean {
    return this.#endedWell;
  }

  protected doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    return this.below.read(into, offset, options);
  }

  protected doWrite(from: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void> {
    return this.below.write(from, offset, options);
  }

  protected doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    return this.below.zero(offset, length, options);
  }

  protected doTrim(offset: Bytes, length: Bytes, options: WriteOptions): Promise<void> {
    return this.below.trim(offset, length, options);
  }

  protected doFlush(options: RequestOptions): Promise<void> {
    return this.below.flush(options);
  }

  protected doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    return firstExtents(this.below, offset, length, options);
  }

  /** The image is whole, and its locks are gone, when QEMU has ended. */
  protected override async doClose(): Promise<void> {
    try {
      await this.below.close();
      this.#endedWell = await this.#end();
    } finally {
      for (const device of this.#owned) await device.close();
    }
  }
}
