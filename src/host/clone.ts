import { errnoName, systemError } from './errno.js';
import { tryCall } from './libc.js';

/** ioctl_ficlonerange(2), linux/fs.h. */
const FICLONERANGE = 0x4020940d;

/** What says that this pair of files, or this range, cannot share its blocks; nothing was changed then. */
const refusals = new Set(['EOPNOTSUPP', 'EINVAL', 'EXDEV', 'ENOTTY', 'ENOSYS', 'EPERM', 'EBADF', 'ETXTBSY', 'EISDIR']);

/** A range of a host file, in bytes. */
export interface FileRange {
  readonly fd: number;
  readonly offset: bigint;
}

/**
 * Makes a range of one file share the blocks of another (a reflink): neither is copied until one of them changes.
 *
 * @param length bytes; a multiple of the filesystem's block, unless the range ends where the source file ends
 * @returns false when the filesystem cannot, or not for this range
 * @throws {DiskError} IO when it could and failed: a full disk, a broken one
 */
export function cloneRange(from: FileRange, to: FileRange, length: bigint, what: string): boolean {
  // A length of zero means all that follows: nothing is to be cloned.
  if (length === 0n) return true;
  const request = BigInt64Array.of(BigInt(from.fd), from.offset, length, to.offset);
  const result = tryCall('ioctl', to.fd, FICLONERANGE, request);
  if (result === 0) return true;
  const errno = errnoName(Number(-result));
  if (refusals.has(errno)) return false;
  throw systemError(`clone to ${what}`, errno);
}
