import { constants } from 'node:os';
import { viewOf } from '../binary/layout.js';
import { flockRange } from './abi.js';
import { errnoName, systemError } from './errno.js';
import { tryCall } from './libc.js';

/**
 * Locks on ranges of bytes that belong to an open file description: they are dropped by its last close, and not, as
 * those of a process are, by any close of any descriptor of the file. fcntl(2), "Open file description locks".
 */

/** asm-generic/fcntl.h. */
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const types = { read: 0, write: 1, none: 2 } as const;

export type LockType = 'read' | 'write';

function request(fd: number, command: number, type: keyof typeof types, start: bigint, length: bigint) {
  const memory = new Uint8Array(flockRange.size);
  const view = viewOf(memory);
  flockRange.put(view, { l_type: types[type], l_start: start, l_len: length });
  return { result: Number(tryCall('fcntl', fd, command, memory)), answer: flockRange.at(view) };
}

/**
 * Takes a lock without waiting. A read lock needs a descriptor that reads, a write lock one that writes.
 *
 * @param start bytes from the start of the file
 * @param length bytes; 0 is everything after `start`
 * @returns false when somebody else's lock is in the way
 * @throws {DiskError} by errno: ENOLCK, EINVAL … where the filesystem takes no locks
 */
export function lockRange(fd: number, type: LockType, start: bigint, length: bigint, what: string): boolean {
  const { result } = request(fd, F_OFD_SETLK, type, start, length);
  if (result >= 0) return true;
  if (-result === constants.errno.EAGAIN || -result === constants.errno.EACCES) return false;
  throw systemError(`lock ${what}`, errnoName(-result));
}

/** Gives up the locks that this open file has on a range. Where the filesystem takes no locks, there are none. */
export function unlockRange(fd: number, start: bigint, length: bigint): void {
  request(fd, F_OFD_SETLK, 'none', start, length);
}

/**
 * Whether a lock of somebody else would be in the way of this one, which is not taken.
 *
 * @param type `write`: any lock is in the way; `read`: only write locks are
 * @throws {DiskError} by errno
 */
export function isRangeLocked(fd: number, type: LockType, start: bigint, length: bigint, what: string): boolean {
  const { result, answer } = request(fd, F_OFD_GETLK, type, start, length);
  if (result < 0) throw systemError(`look for locks on ${what}`, errnoName(-result));
  return answer.l_type !== types.none;
}
