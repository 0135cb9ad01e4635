import { min, roundDown, roundUp } from '../../binary/convert.js';
import { zeros } from '../../binary/zeros.js';
import type { BlockDevice, RequestOptions, WriteOptions, ZeroOptions } from '../block-device.js';
import type { Bytes, Extent } from '../extent.js';
import { firstExtents } from '../first-extents.js';
import { RangeLock } from '../range-lock.js';
import { Layer } from './layer.js';

/**
 * Takes requests of any bytes to a device of whole blocks. A block that is written to in part is read, changed and written
 * back, while no other change of it is under way.
 */
export class UnalignedLayer extends Layer {
  readonly name: string;
  readonly #block: bigint;
  readonly #changes = new RangeLock();

  constructor(below: BlockDevice) {
    const { minimum, preferred, maximum } = below.facts.blockSize;
    super(below, { blockSize: { minimum: 1, preferred, maximum } });
    this.name = below.name;
    this.#block = BigInt(minimum);
  }

  protected async doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    const end = offset + BigInt(into.length);
    const { outer, inner } = this.#blocksOf(offset, end);
    if (outer.start === inner.start && outer.end === inner.end) return await this.below.read(into, offset, options);
    const bytes = new Uint8Array(Number(outer.end - outer.start));
    await this.below.read(bytes, outer.start, options);
    into.set(bytes.subarray(Number(offset - outer.start), Number(end - outer.start)));
  }

  protected doWrite(from: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void> {
    const part = (start: Bytes, end: Bytes) => from.subarray(Number(start - offset), Number(end - offset));
    return this.#change(offset, offset + BigInt(from.length), options, part, (start, end) =>
      this.below.write(part(start, end), start, options),
    );
  }

  protected doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    const part = (start: Bytes, end: Bytes) => zeros.subarray(0, Number(end - start));
    return this.#change(offset, offset + length, options, part, (start, end) =>
      this.below.zero(start, end - start, options),
    );
  }

  /** Of whole blocks alone: the rest may stay as it is. */
  protected async doTrim(offset: Bytes, length: Bytes, options: WriteOptions): Promise<void> {
    const { start, end } = this.#blocksOf(offset, offset + length).inner;
    if (start >= end) return;
    await this.#changes.run(start, end, () => this.below.trim(start, end - start, options));
  }

  protected doFlush(options: RequestOptions): Promise<void> {
    return this.below.flush(options);
  }

  protected doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    return firstExtents(this.below, offset, length, options);
  }

  protected override async doClose(): Promise<void> {
    await this.#changes.idle();
    await super.doClose();
  }

  /**
   * @param part what goes into less than a block
   * @param whole changes whole blocks
   */
  #change(
    offset: Bytes,
    end: Bytes,
    options: WriteOptions,
    part: (start: Bytes, end: Bytes) => Uint8Array,
    whole: (start: Bytes, end: Bytes) => Promise<void>,
  ): Promise<void> {
    const { outer, inner } = this.#blocksOf(offset, end);
    return this.#changes.run(outer.start, outer.end, async () => {
      if (inner.start > inner.end) return await this.#changePart(outer.start, part(offset, end), offset, options);
      if (offset < inner.start) {
        await this.#changePart(outer.start, part(offset, inner.start), offset, options);
      }
      if (inner.start < inner.end) await whole(inner.start, inner.end);
      if (inner.end < end) await this.#changePart(inner.end, part(inner.end, end), inner.end, options);
    });
  }

  /** Puts `bytes` at `offset` into the block that begins at `start`. */
  async #changePart(start: Bytes, bytes: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void> {
    const block = new Uint8Array(Number(min(this.#block, this.facts.size - start)));
    await this.below.read(block, start);
    block.set(bytes, Number(offset - start));
    await this.below.write(block, start, options);
  }

  /** The whole blocks that hold a range, and those that lie in it; where it lies inside one, `inner` runs backwards. */
  #blocksOf(offset: Bytes, end: Bytes) {
    const { size } = this.facts;
    const outer = { start: roundDown(offset, this.#block), end: min(roundUp(end, this.#block), size) };
    const inner = {
      start: min(roundUp(offset, this.#block), size),
      end: end === size ? size : roundDown(end, this.#block),
    };
    return { outer, inner };
  }
}

/** The device, or one over it that takes requests of any bytes, where it takes whole blocks alone. */
export function takingAnyBytes(device: BlockDevice): BlockDevice {
  return device.facts.blockSize.minimum === 1 ? device : new UnalignedLayer(device);
}
