import { read, write, writeSync } from 'node:fs';
import { systemError, wrapSystemError } from './errno.js';
import { addressOf, call, callLater, tryCall } from './libc.js';

/** Reads and writes at a position. The one place that turns an offset into what Node's calls take. */

const RWF_NOWAIT = 8;
/** struct iovec, used for each call: koffi takes longer to make one of an object than the kernel to copy a page. */
const vector = new BigUint64Array(2);
const maxSafe = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * Reads on this thread what the page cache holds, without ever waiting for a disk.
 *
 * @param inMemory the file has no disk behind it, so that reading never waits
 * @returns bytes read from the start of `into`; fewer than asked (or none) when the rest is not at hand, or this
 * filesystem cannot tell
 */
export function readNow(fd: number, into: Uint8Array, offset: bigint, inMemory: boolean): number {
  vector[0] = addressOf(into);
  vector[1] = BigInt(into.length);
  const got = tryCall('preadv2', fd, vector, 1, offset, inMemory ? 0 : RWF_NOWAIT);
  return got > 0 ? Number(got) : 0;
}

/** Bytes: the least that readahead fills in one go, so that what lies between two cached bytes is cached as well. */
const probeStep = 64n << 10n;
const probed = new Uint8Array(1);

/** Whether reading the range needs no disk, as far as samples of it tell. */
export function isAtHand(fd: number, offset: bigint, length: number, inMemory: boolean): boolean {
  if (inMemory) return true;
  const last = offset + BigInt(length) - 1n;
  for (let at = offset; at < last; at += probeStep) if (readNow(fd, probed, at, false) === 0) return false;
  return readNow(fd, probed, last, false) === 1;
}

/**
 * Reads at `offset` until `into` is full or the file ends.
 *
 * @returns bytes read
 */
export async function readAt(fd: number, into: Uint8Array, offset: bigint, what: string): Promise<number> {
  let filled = 0;
  while (filled < into.length) {
    const got = await readOnce(fd, into, filled, offset + BigInt(filled), what);
    if (got === 0) break;
    filled += got;
  }
  return filled;
}

function readOnce(fd: number, into: Uint8Array, start: number, offset: bigint, what: string): Promise<number> {
  return new Promise((resolve, reject) => {
    // fs.read takes a bigint position as it is; FileHandle.read on Node 20 reads at the current position instead.
    read(fd, into, start, into.length - start, offset, (error, got) => {
      if (error === null) resolve(got);
      else
        reject(wrapSystemError(`read of ${into.length - start} bytes at byte ${offset} of ${what}`, error, { offset }));
    });
  });
}

/** Writes all of `from` at `offset`. */
export async function writeAt(fd: number, from: Uint8Array, offset: bigint, what: string): Promise<void> {
  for (let written = 0; written < from.length; ) {
    const at = offset + BigInt(written);
    const step = await writeOnce(fd, from.subarray(written), at, what);
    if (step <= 0) throw systemError(`write at byte ${at} of ${what}`, 'EIO', { offset: at });
    written += step;
  }
}

/** Writes all of `from` at `offset` on this thread, which waits for it. */
export function writeNow(fd: number, from: Uint8Array, offset: bigint, what: string): void {
  for (let written = 0; written < from.length; ) {
    const at = offset + BigInt(written);
    const step = writeOnceNow(fd, from.subarray(written), at, what);
    if (step <= 0) throw systemError(`write at byte ${at} of ${what}`, 'EIO', { offset: at });
    written += step;
  }
}

function writeOnceNow(fd: number, from: Uint8Array, offset: bigint, what: string): number {
  if (offset > maxSafe) return Number(call('pwrite', `at byte ${offset} of ${what}`, fd, from, from.length, offset));
  try {
    return writeSync(fd, from, 0, from.length, Number(offset));
  } catch (error) {
    throw wrapSystemError(`write of ${from.length} bytes at byte ${offset} of ${what}`, error, { offset });
  }
}

function writeOnce(fd: number, from: Uint8Array, offset: bigint, what: string): Promise<number> {
  // fs.write silently writes at the current position when it is given a bigint, or a number past 2^53.
  if (offset > maxSafe) {
    return callLater('pwrite', `at byte ${offset} of ${what}`, fd, from, from.length, offset).then(Number);
  }
  return new Promise((resolve, reject) => {
    write(fd, from, 0, from.length, Number(offset), (error, written) => {
      if (error === null) resolve(written);
      else reject(wrapSystemError(`write of ${from.length} bytes at byte ${offset} of ${what}`, error, { offset }));
    });
  });
}
