import { constants } from 'node:os';
import { DiskError } from '../error/disk-error.js';
import { errnoName, systemError } from './errno.js';
import { tryCall } from './libc.js';
import { requireProgram, runProgram } from './process.js';

/** Freezing and thawing one filesystem: fsfreeze(8) in the ordinary course, FITHAW itself for the guard. */

/** linux/fs.h: _IOWR('X', 120, int). */
const FITHAW = 0xc0045878;
const MCL_CURRENT = 1;
const MCL_FUTURE = 2;
/** Pages are locked once they are used: all of Node at once would be 190 MB. */
const MCL_ONFAULT = 4;

/** What fsfreeze prints in the C locale, and the error that it means. */
const errors: Readonly<Record<string, string>> = {
  'Device or resource busy': 'EBUSY',
  'Invalid argument': 'EINVAL',
  'Operation not supported': 'EOPNOTSUPP',
  'Inappropriate ioctl for device': 'EOPNOTSUPP',
  'Operation not permitted': 'EPERM',
  'Permission denied': 'EACCES',
  'Read-only file system': 'EROFS',
  'Input/output error': 'EIO',
};

/** The path of fsfreeze. */
export function fsfreezeProgram(): string {
  return requireProgram('fsfreeze', 'install util-linux');
}

/**
 * Freezes the filesystem mounted at `mountPoint`: everything is on disk when it resolves, and writers wait.
 *
 * @throws {DiskError} BUSY already frozen; UNSUPPORTED; IO with EPERM without the right to
 */
export async function freezeMount(mountPoint: string): Promise<void> {
  const errno = await fsfreeze('--freeze', mountPoint);
  switch (errno) {
    case undefined:
      return;
    case 'EBUSY':
      throw new DiskError('BUSY', `freeze ${mountPoint}: already frozen`, { device: mountPoint, errno });
    case 'EOPNOTSUPP':
      throw new DiskError('UNSUPPORTED', `freeze ${mountPoint}: this kind of filesystem cannot be frozen`, {
        device: mountPoint,
        errno,
      });
    default:
      throw forbidden('freeze', mountPoint, errno);
  }
}

/** @returns false when it was not frozen */
export async function thawMount(mountPoint: string): Promise<boolean> {
  const errno = await fsfreeze('--unfreeze', mountPoint);
  if (errno === undefined) return true;
  if (errno === 'EINVAL') return false;
  throw forbidden('thaw', mountPoint, errno);
}

function forbidden(verb: string, mountPoint: string, errno: string): DiskError {
  const what = `${verb} ${mountPoint}`;
  if (errno !== 'EPERM' && errno !== 'EACCES') return systemError(what, errno, { device: mountPoint });
  return new DiskError('IO', `${what}: not permitted: only root (CAP_SYS_ADMIN) may`, { device: mountPoint, errno });
}

/** Runs fsfreeze and returns the name of the error that it met. */
async function fsfreeze(option: '--freeze' | '--unfreeze', mountPoint: string): Promise<string | undefined> {
  const { status, signal, stderr } = await runProgram(fsfreezeProgram(), [option, mountPoint]);
  if (status === 0) return undefined;
  const known = Object.entries(errors).find(([text]) => stderr.includes(text));
  if (known !== undefined) return known[1];
  const said = stderr.trim().replace(/\s+/g, ' ');
  throw new DiskError('IO', `fsfreeze ${option} ${mountPoint}: ${said || (signal ?? `status ${status}`)}`, {
    device: mountPoint,
  });
}

/**
 * Thaws the filesystem of an open descriptor by the system call: no program to load, nothing to allocate.
 *
 * @returns false when it was not frozen
 * @throws {DiskError} by errno
 */
export function thawDescriptor(fd: number, mountPoint: string): boolean {
  const errno = tryCall('ioctlNumber', fd, FITHAW, 0);
  if (errno === 0) return true;
  if (errno === -constants.errno.EINVAL) return false;
  throw systemError(`thaw ${mountPoint}`, errnoName(-Number(errno)), { device: mountPoint });
}

/** Makes the call once where it can do nothing, so that all its code is in memory. */
export function rehearseThaw(): void {
  tryCall('ioctlNumber', -1, FITHAW, 0);
}

/** Keeps this process from ever waiting for its own memory. Returns false where it may not. */
export function lockMemory(): boolean {
  return tryCall('mlockall', MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) === 0;
}

/** Before the process ends: V8 gives back reserved memory on its way out, and dies where that is locked. */
export function unlockMemory(): void {
  tryCall('munlockall');
}
