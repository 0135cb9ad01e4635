import { constants } from 'node:os';
import { errnoName, systemError } from './errno.js';
import { call, tryCall } from './libc.js';

/**
 * Who has a file open, found without locks: the kernel grants a lease only when nobody's opening contradicts it
 * (fcntl(2), "Leases"). It is dropped at once: all that is wanted is whether it was granted.
 */

/** asm-generic/fcntl.h and linux/fcntl.h. */
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const lease = { read: 0, write: 1, none: 2 } as const;

export type Openers =
  /** None but whoever asks. */
  | { readonly found: 'none' }
  | { readonly found: 'some' }
  /** Nobody can tell; `errno` says why: EACCES, not the owner; EINVAL, a filesystem or a file without leases. */
  | { readonly found: 'unchecked'; readonly errno: string };

/** Looks whether anybody has the file open for writing. `fd` must be open for reading only. */
export function findWriters(fd: number, what: string): Openers {
  return tryLease(fd, lease.read, what);
}

/** Looks whether anybody else has the file open at all, also in this process. */
export function findOpeners(fd: number, what: string): Openers {
  return tryLease(fd, lease.write, what);
}

function tryLease(fd: number, type: number, what: string): Openers {
  // Somebody who opens the file while the lease is held makes the kernel signal us, by SIGIO unless told otherwise, and
  // that would be the end. SIGURG is ignored unless somebody asks for it.
  call('fcntlNumber', `(F_SETSIG) of ${what}`, fd, F_SETSIG, constants.signals.SIGURG);
  const result = Number(tryCall('fcntlNumber', fd, F_SETLEASE, type));
  if (result >= 0) {
    call('fcntlNumber', `(drop the lease) of ${what}`, fd, F_SETLEASE, lease.none);
    return { found: 'none' };
  }
  if (-result === constants.errno.EAGAIN) return { found: 'some' };
  const errno = errnoName(-result);
  if (['EACCES', 'EPERM', 'EINVAL', 'EOPNOTSUPP', 'ENOSYS', 'ENOLCK'].includes(errno)) {
    return { found: 'unchecked', errno };
  }
  throw systemError(`lease on ${what}`, errno);
}
