import { max, min, roundDown, roundUp } from '../../binary/convert.js';
import type { BlockDevice } from '../../device/block-device.js';

/**
 * Writes to a device that takes whole blocks alone, at any place. Of a block that is written to in parts, the rest stays as
 * it is, as long as no two writes overlap.
 */
export class WholeBlocks {
  readonly #block: bigint;
  /** Settles when no block is being changed in part any more. */
  #parts: Promise<void> = Promise.resolve();

  constructor(private readonly device: BlockDevice) {
    this.#block = BigInt(device.facts.blockSize.minimum);
  }

  async write(from: Uint8Array, offset: bigint): Promise<void> {
    const end = offset + BigInt(from.length);
    const first = min(roundUp(offset, this.#block), end);
    const last = end === this.device.facts.size ? end : max(roundDown(end, this.#block), first);
    const part = (start: bigint, stop: bigint) => from.subarray(Number(start - offset), Number(stop - offset));
    if (offset < first) await this.#writePart(part(offset, first), offset);
    if (first < last) await this.device.write(part(first, last), first);
    if (last < end) await this.#writePart(part(last, end), last);
  }

  /** One after the other: two may be parts of the same block. */
  #writePart(from: Uint8Array, offset: bigint): Promise<void> {
    const change = async () => {
      const start = roundDown(offset, this.#block);
      const block = new Uint8Array(Number(min(this.#block, this.device.facts.size - start)));
      await this.device.read(block, start);
      block.set(from, Number(offset - start));
      await this.device.write(block, start);
    };
    const changed = this.#parts.then(change);
    this.#parts = changed.catch(() => {});
    return changed;
  }
}
