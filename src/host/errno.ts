import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { DiskError, type ErrorCode, type ErrorFacts } from '../error/disk-error.js';

const names = new Map<number, string>(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** EOPNOTSUPP and ENOTSUP are one number on Linux, EAGAIN and EWOULDBLOCK another. */
names.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP');
names.set(constants.errno.EAGAIN, 'EAGAIN');

/** The symbolic name of an error number: `ENOSPC`. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** Where libuv has no words, or misleading ones ("not supported on socket" of a file). */
const meanings: Readonly<Record<string, string>> = {
  EOPNOTSUPP: 'operation not supported',
  ENOTSUP: 'operation not supported',
  EDQUOT: 'disk quota exceeded',
  ESTALE: 'stale file handle',
};

/** What a symbolic error name means, in words: `no space left on device`. */
export function errnoMeaning(name: string): string {
  const own = meanings[name];
  if (own !== undefined) return own;
  const number = Object.entries(constants.errno).find(([known]) => known === name)?.[1];
  return number === undefined ? name : (getSystemErrorMap().get(-number)?.[1] ?? name);
}

const codes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'NOT_FOUND',
  ENOTDIR: 'NOT_FOUND',
  ENXIO: 'NOT_FOUND',
  EOPNOTSUPP: 'UNSUPPORTED',
  ENOSYS: 'UNSUPPORTED',
  EBUSY: 'BUSY',
  ETXTBSY: 'BUSY',
  EROFS: 'READ_ONLY',
};

/**
 * An error of the system, in our words: `what: meaning (ENAME)`.
 *
 * @param what the operation and its object: `open a.img`
 */
export function systemError(what: string, errno: string, facts: ErrorFacts = {}): DiskError {
  return new DiskError(codes[errno] ?? 'IO', `${what}: ${errnoMeaning(errno)} (${errno})`, { ...facts, errno });
}

/** The errno name of anything that Node's own calls threw, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof DiskError) return error.errno;
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined;
}

/** Wraps what one of Node's own calls threw; what is no system error stays as it is. */
export function wrapSystemError(what: string, error: unknown, facts: ErrorFacts = {}): unknown {
  const errno = errnoOf(error);
  return errno === undefined || error instanceof DiskError
    ? error
    : systemError(what, errno, { ...facts, cause: error });
}
