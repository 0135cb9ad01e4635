import { max, min, roundDown, roundUp, toNumber } from '../binary/convert.js';
import type { BlockDevice } from '../device/block-device.js';

export interface CacheSize {
  /** Bytes: at least the blocks of every device. */
  readonly chunkSize: bigint;
  /** How many chunks are kept. */
  readonly chunks: number;
}

/** A probe looks at some places at either end, and at the first again and again. */
const enoughForAProbe: CacheSize = { chunkSize: 64n * 1024n, chunks: 32 };

/**
 * Reads small structures anywhere on a device: whole chunks, of which it keeps the last few, since many structures share
 * a chunk.
 */
export class DeviceReader {
  readonly #chunks = new Map<bigint, Uint8Array>();

  constructor(
    private readonly device: BlockDevice,
    private readonly signal?: AbortSignal | undefined,
    private readonly cache = enoughForAProbe,
  ) {}

  /**
   * A copy of `length` bytes at `offset`, or undefined when they do not lie inside the device.
   *
   * @throws {DiskError} IO, CANCELLED
   */
  async bytes(offset: bigint, length: number, signal = this.signal): Promise<Uint8Array | undefined> {
    const end = offset + BigInt(length);
    if (offset < 0n || end > this.device.facts.size) return undefined;
    const { chunkSize } = this.cache;
    const first = roundDown(offset, chunkSize);
    // Nearly all there is lies in one chunk.
    if (end <= first + chunkSize && length > 0) {
      const start = Number(offset - first);
      return (await this.#chunk(first, signal)).slice(start, start + length);
    }
    const bytes = new Uint8Array(length);
    for (let at = first; at < end; at += chunkSize) {
      const chunk = await this.#chunk(at, signal);
      const from = max(at, offset);
      const to = min(roundUp(at + 1n, chunkSize), end);
      bytes.set(chunk.subarray(toNumber(from - at), toNumber(to - at)), toNumber(from - offset));
    }
    return bytes;
  }

  async #chunk(at: bigint, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const known = this.#chunks.get(at);
    if (known !== undefined) {
      // The oldest goes first, and this one is young again.
      this.#chunks.delete(at);
      this.#chunks.set(at, known);
      return known;
    }
    const { chunkSize, chunks } = this.cache;
    const chunk = new Uint8Array(toNumber(min(chunkSize, this.device.facts.size - at)));
    await this.device.read(chunk, at, { signal });
    const [oldest] = this.#chunks.keys();
    if (this.#chunks.size >= chunks && oldest !== undefined) this.#chunks.delete(oldest);
    this.#chunks.set(at, chunk);
    return chunk;
  }
}
