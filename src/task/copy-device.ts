import { min, roundUp, toNumber } from '../binary/convert.js';
import { RangeSet } from '../binary/range-set.js';
import { isZero, zeroRuns } from '../binary/zeros.js';
import type { BlockDevice } from '../device/block-device.js';
import { clip, type Extent } from '../device/extent.js';
import { DiskError } from '../error/disk-error.js';
import { alignedBuffer } from '../host/aligned-buffer.js';
import { cloneRange } from '../host/clone.js';
import type { TaskContext } from './context.js';
import { inParallel } from './in-parallel.js';
import type { Output } from './output/output.js';

/** Bytes a request, and how many are under way at a time: 8 MiB of buffers. */
const requestSize = 2 << 20;
const depth = 4;
/** Bytes: what hosts allocate by. Zeros are looked for in blocks of it. */
const hostBlock = 4096;
/** Bytes: a stop is heeded, and progress told, between pieces of zeros. */
const zeroPiece = 256n << 20n;

export interface CopyOptions {
  /** Bytes of the source that nobody cares about: they are not copied, and read as zeros in a new file. */
  readonly free?: RangeSet | undefined;
  /** Bytes whose contents are given up: they are not copied either, and read as zeros in the copy. */
  readonly wiped?: RangeSet | undefined;
  /** What progress is said to be. */
  readonly phase?: string | undefined;
}

export interface CopyResult {
  /** Bytes: the length of the copy. */
  readonly size: bigint;
  /** Bytes that were written: the rest is zeros, free, or shared with the source. */
  readonly written: bigint;
  /** Bytes that were left out because nobody needs them. */
  readonly skipped: bigint;
  /** The copy shares the source's blocks, and neither was read. */
  readonly cloned: boolean;
}

/** A part of the source that is handled in one go. */
interface Piece {
  readonly offset: bigint;
  readonly length: bigint;
  readonly zero: boolean;
  /** Resolves when all pieces before it have been given to the output; to false when one of them will never be. */
  readonly turn: Promise<boolean>;
  /** To be called when this one has been, or never will be. */
  readonly done: (given: boolean) => void;
}

/**
 * Copies a device: zeros become holes where the output can have them, and what is free is left out. Ends the output in
 * either case: it is whole and durable when this resolves, and gone when it rejects.
 *
 * @throws {DiskError} IO, CANCELLED, and whatever the source's reads reject with
 */
export async function copyDevice(
  source: BlockDevice,
  output: Output,
  options: CopyOptions,
  context: TaskContext,
): Promise<CopyResult> {
  try {
    const result = await copyContents(source, output, options, context);
    await output.finish();
    return { ...result, written: output.written };
  } catch (error) {
    await output.discard();
    throw error;
  }
}

/**
 * The same, but for the end of the output: it is for the caller to finish or discard, and may not be on the disk yet.
 *
 * @throws {DiskError} as {@link copyDevice}
 */
export async function copyContents(
  source: BlockDevice,
  output: Output,
  options: CopyOptions,
  context: TaskContext,
): Promise<CopyResult> {
  const result = await copyAll(source, output, options, context);
  if (context.signal?.aborted) throw DiskError.cancelled(context.signal);
  return { ...result, written: output.written };
}

async function copyAll(
  source: BlockDevice,
  output: Output,
  { free = RangeSet.empty, wiped = RangeSet.empty, phase = `copying ${source.name}` }: CopyOptions,
  context: TaskContext,
): Promise<Omit<CopyResult, 'written'>> {
  const { size, hostFile } = source.facts;
  if (hostFile !== undefined && output.fd !== undefined && free.count === 0 && wiped.count === 0) {
    const cloned = cloneRange(hostFile, { fd: output.fd, offset: 0n }, size, output.name);
    if (cloned) return { size, skipped: 0n, cloned };
  }
  // Part of a block that is free gives nothing back: its whole block is copied.
  const skipped = free.roundInwards(BigInt(hostBlock)).union(wiped).clip(0n, size);
  if (!output.blank && !output.ordered) {
    for (const { offset, length } of wiped.clip(0n, size)) await output.zero(offset, length);
  }
  await new Copier(source, output, skipped, phase, context).run();
  return { size, skipped: skipped.total, cloned: false };
}

class Copier {
  #done = 0n;

  constructor(
    private readonly source: BlockDevice,
    private readonly output: Output,
    private readonly free: RangeSet,
    private readonly phase: string,
    private readonly context: TaskContext,
  ) {}

  async run(): Promise<void> {
    const pieces = this.#pieces();
    await inParallel(depth, this.context.signal, async (signal) => {
      const buffer = alignedBuffer(requestSize);
      for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) {
        const piece = next.value;
        try {
          if (piece.zero) await this.#copyZeros(piece, signal);
          else await this.#copyData(piece, buffer.subarray(0, toNumber(piece.length)), signal);
        } finally {
          piece.done(false);
        }
      }
    });
  }

  async #copyZeros(piece: Piece, signal: AbortSignal): Promise<void> {
    await this.#inOrder(piece, signal, () => this.output.zero(piece.offset, piece.length));
    this.#report(piece.length);
  }

  async #copyData(piece: Piece, buffer: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.source.read(buffer, piece.offset, { signal });
    await this.#inOrder(piece, signal, () => this.#put(piece, buffer));
    this.#report(piece.length);
  }

  async #put({ offset, length }: Piece, buffer: Uint8Array): Promise<void> {
    const { blank, ordered } = this.output;
    if (!blank && ordered) await this.output.write(buffer, offset);
    else if (isZero(buffer)) {
      if (!blank) await this.output.zero(offset, length);
    } else if (blank && !ordered) await this.#writeData(buffer, offset);
    else await this.output.write(buffer, offset);
  }

  async #writeData(buffer: Uint8Array, offset: bigint): Promise<void> {
    const runs: [start: number, end: number][] = [];
    zeroRuns(buffer, hostBlock, (start, end, zero) => {
      if (!zero) runs.push([start, end]);
    });
    for (const [start, end] of runs) await this.output.write(buffer.subarray(start, end), offset + BigInt(start));
  }

  /** Gives a piece to the output, where that takes them in order when its turn has come. */
  async #inOrder({ turn, done }: Piece, signal: AbortSignal, give: () => Promise<void>): Promise<void> {
    const gapless = this.output.ordered ? await turn : true;
    if (!gapless || signal.aborted) throw DiskError.cancelled(signal);
    const given = give();
    done(true);
    await given;
  }

  #report(length: bigint): void {
    this.#done += length;
    const { onProgress } = this.context;
    onProgress?.({ phase: this.phase, done: this.#done, total: this.source.facts.size });
  }

  /** All that has to be handled, cut to requests that end at multiples of their size. */
  async *#pieces(): AsyncGenerator<Piece> {
    let turn: Promise<boolean> = Promise.resolve(true);
    for await (const { offset, length, zero } of this.#parts()) {
      if (zero && this.output.blank) {
        this.#report(length);
        continue;
      }
      const end = offset + length;
      for (let at = offset; at < end; ) {
        const next = min(zero ? at + zeroPiece : requestEnd(at), end);
        let done: Piece['done'] = () => {};
        const before = turn;
        turn = new Promise((resolve) => {
          done = resolve;
        });
        yield { offset: at, length: next - at, zero, turn: before, done };
        at = next;
      }
    }
  }

  /** The extents without what is free; where every byte must come, what is free comes as zeros. */
  async *#parts(): AsyncGenerator<Pick<Extent, 'offset' | 'length' | 'zero'>> {
    const { size } = this.source.facts;
    const wanted = this.free.complement(0n, size)[Symbol.iterator]();
    let range = wanted.next();
    let at = 0n;
    for await (const extent of this.source.extents(0n, size, { signal: this.context.signal })) {
      const end = extent.offset + extent.length;
      while (range.done !== true && range.value.offset < end) {
        const rangeEnd = range.value.offset + range.value.length;
        const part = clip(extent, range.value.offset, rangeEnd);
        if (part !== undefined) {
          yield* this.#gap(at, part.offset);
          yield part;
          at = part.offset + part.length;
        }
        if (rangeEnd > end) break;
        range = wanted.next();
      }
    }
    yield* this.#gap(at, size);
  }

  *#gap(start: bigint, end: bigint) {
    if (start === end) return;
    if (this.output.ordered && !this.output.blank) yield { offset: start, length: end - start, zero: true };
    else this.#report(end - start);
  }
}

/** Where a request that starts here ends: after one short one, all start at a block of the host. */
function requestEnd(at: bigint): bigint {
  return roundUp(at + 1n, at % BigInt(hostBlock) === 0n ? BigInt(requestSize) : BigInt(hostBlock));
}
