import { min } from '../../../binary/convert.js';
import { bytesOf } from '../../../binary/layout.js';
import type { BlockDevice, RequestOptions } from '../../../device/block-device.js';
import { readView } from '../../../device/read-view.js';
import { DiskError } from '../../../error/disk-error.js';
import type { Place } from '../../../error/message.js';
import type { BlockRun } from '../geometry.js';

/** Bytes that are read in one request, at most: a log is read from one end to the other. */
const chunkSize = 256 * 1024;

/** Blocks of the journal that were read together, half-open. */
interface Chunk {
  readonly start: number;
  readonly end: number;
  readonly memory: Uint8Array;
}

/** The blocks of a journal, counted from its start, wherever on the device they lie. */
export class JournalBlocks {
  readonly count: number;
  /** For each run, its first block. */
  readonly #firsts: readonly number[];
  #chunk: Chunk = { start: 0, end: 0, memory: new Uint8Array(0) };

  /** @param runs of the filesystem's blocks, in the order of the journal's, that hold all of it */
  constructor(
    private readonly device: BlockDevice,
    readonly blockSize: number,
    readonly runs: readonly BlockRun[],
    private readonly options: RequestOptions,
  ) {
    let count = 0;
    this.#firsts = runs.map(({ start, end }) => {
      count += end - start;
      return count - (end - start);
    });
    this.count = count;
  }

  /** Bytes from the start of the device to a block. */
  offsetOf(block: number): bigint {
    return this.#find(block).offset;
  }

  /** Where a block is, for what is wrong with it. */
  place(structure: string, block: number): Place {
    return { structure, device: this.device.name, offset: this.offsetOf(block) };
  }

  /**
   * The bytes of one block. They stay as they are.
   *
   * @throws {DiskError} CORRUPT when the journal has no such block; IO, CANCELLED
   */
  async read(block: number): Promise<Uint8Array> {
    const known = this.#chunk;
    const chunk = block >= known.start && block < known.end ? known : await this.#readChunk(block);
    const at = (block - chunk.start) * this.blockSize;
    return chunk.memory.subarray(at, at + this.blockSize);
  }

  /** Those of the blocks from `start` up to `end` that may hold something: the others are known to be zeros. */
  async *written(start: number, end: number): AsyncGenerator<number, void, undefined> {
    const size = BigInt(this.blockSize);
    for (let at = start; at < end; ) {
      const { offset, left } = this.#find(at);
      const count = Math.min(left, end - at);
      let next = 0n;
      for await (const extent of this.device.extents(offset, BigInt(count) * size, this.options)) {
        if (extent.zero) continue;
        const first = (extent.offset - offset) / size;
        const behind = min((extent.offset + extent.length - offset + size - 1n) / size, BigInt(count));
        for (next = first < next ? next : first; next < behind; next++) yield at + Number(next);
      }
      at += count;
    }
  }

  async #readChunk(block: number): Promise<Chunk> {
    const { offset, left } = this.#find(block);
    const count = Math.min(left, Math.max(1, chunkSize / this.blockSize));
    const view = await readView(this.device, offset, count * this.blockSize, this.options);
    const chunk = { start: block, end: block + count, memory: bytesOf(view) };
    this.#chunk = chunk;
    return chunk;
  }

  /** @returns bytes from the start of the device, and how many blocks lie side by side from there on */
  #find(block: number): { offset: bigint; left: number } {
    let low = 0;
    let high = this.#firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#firsts[middle] ?? 0) <= block) low = middle + 1;
      else high = middle;
    }
    const [run, first] = [this.runs[low - 1], this.#firsts[low - 1]];
    if (run !== undefined && first !== undefined && block < this.count) {
      const at = run.start + block - first;
      return { offset: BigInt(at) * BigInt(this.blockSize), left: run.end - at };
    }
    throw DiskError.corrupt({
      structure: 'jbd2 journal',
      device: this.device.name,
      field: 'block',
      actual: block,
      expected: `below ${this.count}`,
    });
  }
}
