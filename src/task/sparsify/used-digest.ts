import { createHash } from 'node:crypto';
import { min, toNumber } from '../../binary/convert.js';
import type { RangeSet } from '../../binary/range-set.js';
import { sha256, sha256Size } from '../../binary/sha256.js';
import { isZero } from '../../binary/zeros.js';
import type { BlockDevice } from '../../device/block-device.js';
import { rangeBuffer, readRange } from '../../device/read-range.js';
import { hex } from '../../error/message.js';
import type { TaskContext } from '../context.js';
import { dataPieces } from '../data-pieces.js';
import { inParallel } from '../in-parallel.js';

/** Bytes of the disk that have a digest of their own. */
export const windowSize = 1 << 20;
/** Windows under way at once: enough to hash on each core while the disk reads. */
const depth = 4;
/** Bytes of a window in the digest of all: its number and its own digest. */
const entrySize = 8 + sha256Size;

/**
 * Digests of a disk's bytes in use, one for each window of a MiB in which not all of them are zeros: so that what is a hole
 * and what was written as zeros are the same, and that a difference has a place.
 */
export class UsedDigest {
  /** @param windows ascending */
  constructor(
    private readonly windows: readonly number[],
    private readonly digests: Uint8Array,
  ) {}

  /** How many windows. */
  get count(): number {
    return this.windows.length;
  }

  *[Symbol.iterator](): Generator<{ readonly window: number; readonly digest: Uint8Array }> {
    for (const [i, window] of this.windows.entries()) yield { window, digest: this.#digestAt(i) };
  }

  /**
   * SHA-256 over the windows in order: of each, its number (64 bits, little-endian) and the SHA-256 of its bytes in use.
   */
  sum(): Buffer {
    const hash = createHash('sha256');
    const entry = Buffer.alloc(entrySize);
    for (const { window, digest } of this) {
      entry.writeBigUInt64LE(BigInt(window));
      entry.set(digest, 8);
      hash.update(entry);
    }
    return hash.digest();
  }

  /** The first window in which the two are not the same. */
  firstDifference(other: UsedDigest): number | undefined {
    for (let i = 0; ; i++) {
      const [mine, theirs] = [this.windows[i], other.windows[i]];
      if (mine === undefined || theirs === undefined || mine !== theirs) {
        return mine === undefined ? theirs : theirs === undefined ? mine : Math.min(mine, theirs);
      }
      if (Buffer.compare(this.#digestAt(i), other.#digestAt(i)) !== 0) return mine;
    }
  }

  #digestAt(i: number): Uint8Array {
    return this.digests.subarray(i * sha256Size, (i + 1) * sha256Size);
  }
}

/**
 * Hashes what is in use.
 *
 * @param given what is not: of it, nothing counts
 * @throws {DiskError} IO, CANCELLED
 */
export async function digestUsed(disk: BlockDevice, given: RangeSet, context: TaskContext): Promise<UsedDigest> {
  const used = given.complement(0n, disk.facts.size);
  const phase = `hashing what is in use of ${disk.name}`;
  const { total } = used;
  const windows = windowsWithData(disk, used, context.signal);
  const found: { window: number; digest: Uint8Array }[] = [];
  await inParallel(depth, context.signal, async (signal) => {
    const buffer = rangeBuffer(disk, windowSize);
    for (let next = await windows.next(); next.done !== true; next = await windows.next()) {
      const { window, done } = next.value;
      const bytes = await readUsed(disk, used, window, buffer, signal);
      if (!isZero(bytes)) found.push({ window, digest: await sha256(bytes) });
      context.onProgress?.({ phase, done, total });
    }
  });
  found.sort((a, b) => a.window - b.window);
  return new UsedDigest(
    found.map(({ window }) => window),
    Buffer.concat(found.map(({ digest }) => digest)),
  );
}

/** The first place in which two digests of a disk differ, in words; undefined when they do not. */
export function differenceInUse(
  { facts: { size } }: BlockDevice,
  given: RangeSet,
  before: UsedDigest,
  after: UsedDigest,
): string | undefined {
  const window = before.firstDifference(after);
  if (window === undefined) return undefined;
  const start = BigInt(window) * BigInt(windowSize);
  const parts = [...given.complement(start, min(BigInt(windowSize), size - start))];
  const [first, last] = [parts[0], parts.at(-1)];
  const offset = first?.offset ?? start;
  const end = last === undefined ? start : last.offset + last.length;
  return `something of the bytes in use from byte ${hex(offset)} to ${hex(end)}`;
}

/** Each window that may hold anything but zeros, with how many bytes in use lie before its end. */
async function* windowsWithData(
  disk: BlockDevice,
  used: RangeSet,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ readonly window: number; readonly done: bigint }> {
  let last = -1;
  let done = 0n;
  const ranges = used[Symbol.iterator]();
  let range = ranges.next();
  for await (const { offset } of dataPieces(disk, BigInt(windowSize), signal, used)) {
    const window = toNumber(offset / BigInt(windowSize));
    if (window === last) continue;
    last = window;
    while (range.done !== true && range.value.offset + range.value.length <= offset) {
      done += range.value.length;
      range = ranges.next();
    }
    yield { window, done: done + (range.done === true ? 0n : offset - range.value.offset) };
  }
}

/** The bytes in use of a window, one after the other, in the buffer. */
async function readUsed(
  disk: BlockDevice,
  used: RangeSet,
  window: number,
  buffer: Buffer,
  signal: AbortSignal,
): Promise<Buffer> {
  const parts = [...used.within(BigInt(window) * BigInt(windowSize), BigInt(windowSize))];
  const [first, last] = [parts[0], parts.at(-1)];
  if (first === undefined || last === undefined) return buffer.subarray(0, 0);
  const length = toNumber(last.offset + last.length - first.offset);
  const bytes = await readRange(disk, buffer, first.offset, length, { signal });
  let end = 0;
  for (const part of parts) {
    const start = toNumber(part.offset - first.offset);
    bytes.copyWithin(end, start, start + toNumber(part.length));
    end += toNumber(part.length);
  }
  return bytes.subarray(0, end);
}
