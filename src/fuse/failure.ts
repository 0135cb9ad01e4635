import { constants } from 'node:os';
import { DiskError } from '../error/disk-error.js';

const numbers = new Map(Object.entries(constants.errno));

/** What an operation is refused with: an error number. */
export class Refusal extends Error {
  constructor(readonly errno: number) {
    super(`refused with error ${errno}`);
  }
}

export const { EPERM, ENOENT, EIO, ENOTDIR, EISDIR, EINVAL, ENOSPC, ENXIO, ENOSYS, EOPNOTSUPP, EINTR, EROFS } =
  constants.errno;

/** Errors that mean something else to the kernel than that the device has failed: it would ask again, or never more. */
const reserved: ReadonlySet<number | undefined> = new Set([
  constants.errno.EAGAIN,
  constants.errno.EINTR,
  constants.errno.ENOENT,
  constants.errno.ENOSYS,
  constants.errno.ENOTCONN,
  constants.errno.ESTALE,
]);

/** The error number that tells a reader of what was thrown; EIO for what it could not understand. */
export function errnoFor(error: unknown): number {
  if (error instanceof Refusal) return error.errno;
  if (!(error instanceof DiskError)) return EIO;
  if (error.code === 'CANCELLED') return EINTR;
  const number = numbers.get(error.errno ?? '');
  if (number !== undefined && !reserved.has(number)) return number;
  if (error.code === 'UNSUPPORTED') return EOPNOTSUPP;
  return error.code === 'READ_ONLY' ? EROFS : EIO;
}
