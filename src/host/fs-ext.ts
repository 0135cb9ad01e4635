import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { errnoOf, systemError } from './errno.js';
import { call, tryCall } from './libc.js';

/**
 * lseek(2) and flock(2): by fs-ext where it could be compiled, by koffi where it could not. fs-ext seeks in doubles, so
 * past 2^53 it is koffi in any case. Nothing else knows which of them it was.
 */
type FsExt = typeof import('fs-ext');

const fsExt = load();

function load(): FsExt | undefined {
  // Loaded by a second thread, or once more by a third, it takes the process down.
  if (!isMainThread || process.env.DISKTOOL_NO_FS_EXT === '1') return undefined;
  try {
    return createRequire(import.meta.url)('fs-ext');
  } catch {
    return undefined;
  }
}

/** Whether fs-ext is the one at work. */
export const usesFsExt: boolean = fsExt !== undefined;

/** lseek(2)'s whence. */
export const whence = { set: 0, end: 2, data: 3, hole: 4 } as const;

const ENXIO = 6;

/**
 * Moves the descriptor's position and returns it, or undefined where there is no such place (ENXIO: no data, or no hole,
 * from `offset` to the end).
 *
 * @param offset bytes from the start of the file
 * @throws {DiskError} by errno
 */
export function seek(
  fd: number,
  offset: bigint,
  from: (typeof whence)[keyof typeof whence],
  what: string,
): bigint | undefined {
  if (fsExt !== undefined && offset <= BigInt(Number.MAX_SAFE_INTEGER)) {
    try {
      const position = fsExt.seekSync(fd, Number(offset), from);
      // The answer too may lie past 2^53, where fs-ext's is rounded: then it is asked again.
      if (Number.isSafeInteger(position)) return BigInt(position);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENXIO') return undefined;
      throw systemError(`lseek in ${what}`, errno ?? 'EIO', { cause: error });
    }
  }
  const position = tryCall('lseek', fd, offset, from);
  if (position === -ENXIO) return undefined;
  return BigInt(position >= 0 ? position : call('lseek', `in ${what}`, fd, offset, from));
}

const operations = { shared: 1, exclusive: 2, unlock: 8 } as const;
const LOCK_NB = 4;

/**
 * Takes, changes or drops an flock(2) lock without waiting. A change that is refused loses the lock that was held, since
 * Linux lets go of it first.
 *
 * @returns false when somebody else holds a lock that excludes this one
 * @throws {DiskError} by errno
 */
export function flock(fd: number, operation: keyof typeof operations, what: string): boolean {
  const flags = operations[operation] | LOCK_NB;
  try {
    if (fsExt === undefined) call('flock', what, fd, flags);
    else fsExt.flockSync(fd, flags);
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EAGAIN' || errno === 'EWOULDBLOCK') return false;
    throw systemError(`flock ${what}`, errno ?? 'EIO', { cause: error });
  }
}
