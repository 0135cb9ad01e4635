import { seek, whence } from './fs-ext.js';
import { callLater } from './libc.js';

/** The holes of host files. */

const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const FALLOC_FL_ZERO_RANGE = 16;

/** The first byte of data at or after `offset`, or undefined when only a hole follows. */
export function seekData(fd: number, offset: bigint, what: string): bigint | undefined {
  return seek(fd, offset, whence.data, what);
}

/** The first byte of a hole at or after `offset` (the end of the file is one), or undefined past the end. */
export function seekHole(fd: number, offset: bigint, what: string): bigint | undefined {
  return seek(fd, offset, whence.hole, what);
}

/**
 * Gives back the room of a range, which reads as zeros from then on; the file's length stays.
 *
 * @throws {DiskError} UNSUPPORTED where the filesystem cannot
 */
export async function punchHole(fd: number, offset: bigint, length: bigint, what: string): Promise<void> {
  await callLater('fallocate', `(punch) in ${what}`, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

/**
 * Makes a range read as zeros and keeps its room; the file's length stays.
 *
 * @throws {DiskError} UNSUPPORTED where the filesystem cannot
 */
export async function zeroRange(fd: number, offset: bigint, length: bigint, what: string): Promise<void> {
  await callLater(
    'fallocate',
    `(zero range) in ${what}`,
    fd,
    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
    offset,
    length,
  );
}

const SYNC_FILE_RANGE_WRITE = 2;

/** Has the kernel begin to write a range to the disk, so that a later fsync finds less to do. Says nothing of failure. */
export async function startWriteback(fd: number, offset: bigint, length: bigint): Promise<void> {
  await callLater('syncFileRange', '', fd, offset, length, SYNC_FILE_RANGE_WRITE).catch(() => undefined);
}
