import { BlockSet } from '../../binary/block-set.js';
import { min, roundDown, roundUp, toNumber } from '../../binary/convert.js';
import { DiskError } from '../../error/disk-error.js';
import type { BlockDevice, RequestOptions, WriteOptions, ZeroOptions } from '../block-device.js';
import type { Bytes, Extent } from '../extent.js';
import { firstExtents } from '../first-extents.js';
import { RangeLock } from '../range-lock.js';
import { Layer } from './layer.js';

/** Bytes: a write of part of such a block copies the rest of it up; what filesystems write is no smaller. */
const usualBlock = 4096;

/**
 * Writes go to an overlay, and the device below stays as it is: copy on write. The overlay is as large as the device and
 * takes room only for what is written, if it is memory or a sparse file; what it held before is of no account. Which of
 * its blocks count is known only here, so that closing the layer forgets them.
 */
export class CowLayer extends Layer {
  readonly name: string;
  readonly #block: bigint;
  readonly #written = new BlockSet();
  /** Changes under way, so that no two of them copy up the same block. */
  readonly #changes = new RangeLock();

  /** @throws {DiskError} USAGE when the overlay cannot be written or is smaller than the device */
  constructor(
    below: BlockDevice,
    private readonly overlay: BlockDevice,
  ) {
    const { size, blockSize } = below.facts;
    const { writable, flush, trim, zero, fastZero } = overlay.facts;
    if (!writable || overlay.facts.size < size) {
      throw new DiskError('USAGE', `${overlay.name}: no overlay for ${below.name}: it must be writable, and as large`);
    }
    const minimum = Math.max(blockSize.minimum, overlay.facts.blockSize.minimum);
    const maximum = Math.min(blockSize.maximum, overlay.facts.blockSize.maximum);
    super(below, {
      writable: true,
      flush,
      trim,
      zero,
      fastZero,
      fua: flush ? 'emulated' : 'none',
      extents: below.facts.extents || overlay.facts.extents,
      blockSize: { minimum, preferred: Math.max(usualBlock, blockSize.preferred), maximum },
    });
    this.name = `overlay over ${below.name}`;
    this.#block = BigInt(Math.max(usualBlock, minimum));
  }

  protected async doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    for (const { start, end, written } of this.#parts(offset, offset + BigInt(into.length))) {
      const part = into.subarray(toNumber(start - offset), toNumber(end - offset));
      await (written ? this.overlay : this.below).read(part, start, options);
    }
  }

  protected doWrite(from: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void> {
    const end = offset + BigInt(from.length);
    return this.#change(offset, end, options, () => this.overlay.write(from, offset, options));
  }

  protected doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    return this.#change(offset, offset + length, options, () => this.overlay.zero(offset, length, options));
  }

  /** Whole blocks alone: for the sake of less, nothing would be copied up. */
  protected async doTrim(offset: Bytes, length: Bytes, options: WriteOptions): Promise<void> {
    const start = roundUp(offset, this.#block);
    const end = offset + length === this.facts.size ? this.facts.size : roundDown(offset + length, this.#block);
    if (start < end) await this.#change(start, end, options, () => this.overlay.trim(start, end - start, options));
  }

  protected doFlush(options: RequestOptions): Promise<void> {
    return this.overlay.flush(options);
  }

  protected async doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    const [part] = this.#parts(offset, offset + length);
    if (part === undefined) return [];
    const { start, end, written } = part;
    return await firstExtents(written ? this.overlay : this.below, start, end - start, options);
  }

  protected override async doClose(): Promise<void> {
    await this.#changes.idle();
    await this.overlay.close();
    await super.doClose();
  }

  /** Carries out a change of the overlay, for which the blocks at its ends are copied up first. */
  async #change(start: Bytes, end: Bytes, options: RequestOptions, change: () => Promise<void>): Promise<void> {
    const first = roundDown(start, this.#block);
    const last = min(roundUp(end, this.#block), this.facts.size);
    await this.#changes.run(first, last, async () => {
      if (first < start) await this.#copyUp(first, options);
      if (end < last) await this.#copyUp(last - 1n, options);
      await change();
      const count = (last + this.#block - 1n) / this.#block;
      this.#written.add(toNumber(first / this.#block), toNumber(count));
    });
  }

  /** Brings the block that holds a byte into the overlay, unless it is there. */
  async #copyUp(at: Bytes, options: RequestOptions): Promise<void> {
    const start = roundDown(at, this.#block);
    const block = toNumber(start / this.#block);
    if (this.#written.has(block)) return;
    const bytes = new Uint8Array(toNumber(min(this.#block, this.facts.size - start)));
    await this.below.read(bytes, start, options);
    await this.overlay.write(bytes, start, options);
    // Whole now, whatever becomes of the change.
    this.#written.add(block, block + 1);
  }

  /** Tiles a range with parts that lie in the overlay and parts that do not. */
  *#parts(offset: Bytes, end: Bytes): Generator<{ start: Bytes; end: Bytes; written: boolean }> {
    const lastBlock = toNumber(roundUp(end, this.#block) / this.#block);
    for (let at = offset; at < end; ) {
      const run = this.#written.run(toNumber(at / this.#block), lastBlock);
      const stop = min(BigInt(run.end) * this.#block, end);
      yield { start: at, end: stop, written: run.inside };
      at = stop;
    }
  }
}
