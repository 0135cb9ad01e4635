import { RangeSet } from './range-set.js';

/** Blocks a bitmap: 4 KiB of bits. */
const chunkBlocks = 32_768;

/** A run of blocks that are all in the set, or all not. */
export interface BlockRun {
  readonly end: number;
  readonly inside: boolean;
}

/**
 * A set of blocks that grows, of a disk of any size: a bitmap for each stretch in which something lies, and ranges where
 * whole stretches were added at once. Takes memory for what is in it: a bit a block, or less.
 */
export class BlockSet {
  readonly #chunks = new Map<number, Uint8Array>();
  /** The keys of the bitmaps, ascending. */
  #order: number[] = [];
  /** Whole chunks. */
  #whole = RangeSet.empty;

  /**
   * Adds the blocks from `start` up to `end`: below 2^53.
   *
   * @returns how many of them it did not have
   */
  add(start: number, end: number): number {
    let added = 0;
    for (let at = start; at < end; ) {
      const chunk = Math.floor(at / chunkBlocks);
      const chunkStart = chunk * chunkBlocks;
      const wholeChunks = at === chunkStart ? Math.floor((end - at) / chunkBlocks) : 0;
      if (wholeChunks > 0) {
        const stop = at + wholeChunks * chunkBlocks;
        added += this.#absent(at, stop);
        this.#whole = this.#whole.union(RangeSet.of([{ offset: BigInt(chunk), length: BigInt(wholeChunks) }]));
        at = stop;
        continue;
      }
      const stop = Math.min(end, chunkStart + chunkBlocks);
      if (!this.#isWhole(chunk)) added += setBits(this.#bitmapOf(chunk), at - chunkStart, stop - chunkStart);
      at = stop;
    }
    return added;
  }

  has(block: number): boolean {
    const chunk = Math.floor(block / chunkBlocks);
    if (this.#isWhole(chunk)) return true;
    const bitmap = this.#chunks.get(chunk);
    return bitmap !== undefined && hasBit(bitmap, block - chunk * chunkBlocks);
  }

  /** A run that starts at `start` and ends at `end` at the latest; the next one may be of the same kind. */
  run(start: number, end: number): BlockRun {
    const chunk = Math.floor(start / chunkBlocks);
    const chunkEnd = (chunk + 1) * chunkBlocks;
    if (this.#isWhole(chunk)) return { end: Math.min(end, chunkEnd), inside: true };
    const bitmap = this.#chunks.get(chunk);
    if (bitmap === undefined) return { end: Math.min(end, this.#nextChunk(chunk) * chunkBlocks), inside: false };
    const first = start - chunk * chunkBlocks;
    const inside = hasBit(bitmap, first);
    const stop = endOfRun(bitmap, first, Math.min(end, chunkEnd) - chunk * chunkBlocks, inside);
    return { end: chunk * chunkBlocks + stop, inside };
  }

  /** How many blocks from `start` up to `end` are not in it. */
  #absent(start: number, end: number): number {
    let absent = 0;
    for (let at = start; at < end; ) {
      const run = this.run(at, end);
      if (!run.inside) absent += run.end - at;
      at = run.end;
    }
    return absent;
  }

  #isWhole(chunk: number): boolean {
    return this.#whole.count > 0 && this.#whole.has(BigInt(chunk));
  }

  #bitmapOf(chunk: number): Uint8Array {
    const there = this.#chunks.get(chunk);
    if (there !== undefined) return there;
    const bitmap = new Uint8Array(chunkBlocks / 8);
    this.#chunks.set(chunk, bitmap);
    this.#order.splice(this.#placeOf(chunk), 0, chunk);
    return bitmap;
  }

  /** The first chunk after one that has something in it, or infinity. */
  #nextChunk(chunk: number): number {
    const bitmap = this.#order[this.#placeOf(chunk + 1)] ?? Number.POSITIVE_INFINITY;
    if (this.#whole.count === 0) return bitmap;
    const [range] = this.#whole.clip(BigInt(chunk + 1), 2n ** 52n);
    return range === undefined ? bitmap : Math.min(bitmap, Number(range.offset));
  }

  /** Where a chunk stands, or would stand, among the others. */
  #placeOf(chunk: number): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#order[middle] ?? 0) < chunk) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function hasBit(bitmap: Uint8Array, bit: number): boolean {
  return (((bitmap[bit >>> 3] ?? 0) >>> (bit & 7)) & 1) === 1;
}

/** @returns how many of them were not set */
function setBits(bitmap: Uint8Array, start: number, end: number): number {
  let added = 0;
  for (let at = start; at < end; ) {
    const byte = at >>> 3;
    const before = bitmap[byte] ?? 0;
    const stop = Math.min(end, (byte + 1) * 8);
    const after = before | ((0xff << (at & 7)) & (0xff >>> ((byte + 1) * 8 - stop)));
    if (after !== before) {
      bitmap[byte] = after;
      added += before === 0 && after === 0xff ? 8 : countBits(after ^ before);
    }
    at = stop;
  }
  return added;
}

function countBits(byte: number): number {
  let count = 0;
  for (let bits = byte; bits !== 0; bits &= bits - 1) count++;
  return count;
}

function endOfRun(bitmap: Uint8Array, start: number, end: number, inside: boolean): number {
  const same = inside ? 0xff : 0;
  let at = start;
  while (at < end) {
    if ((at & 7) === 0 && at + 8 <= end && bitmap[at >>> 3] === same) at += 8;
    else if (hasBit(bitmap, at) === inside) at++;
    else break;
  }
  return at;
}
