import { constants, openSync } from 'node:fs';
import { DiskError } from '../error/disk-error.js';
import { errnoOf, systemError } from './errno.js';

const device = '/dev/fuse';

export interface FuseMountOptions {
  /** Shown as what is mounted: a name of the disk. */
  readonly source: string;
  readonly readOnly: boolean;
  /** Whether the mount point is a regular file, not a folder. */
  readonly isFile: boolean;
  /** Whether other users may use it, as far as the modes of its files let them. */
  readonly allowOther: boolean;
}

/** @throws {DiskError} where it is not there, or is not for us */
export function openFuse(): number {
  try {
    return openSync(device, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENODEV' || errno === 'ENXIO') throw noFuse(error);
    if (errno === 'EACCES' || errno === 'EPERM') {
      const what = `${device}: you may not open it (${errno}): it usually has mode 0666; a container is given it by --device ${device}`;
      throw new DiskError('IO', what, { errno, cause: error });
    }
    throw systemError(`open ${device}`, errno ?? 'EIO', { cause: error });
  }
}

/** What is said where the kernel has no FUSE. */
export function noFuse(cause?: unknown): DiskError {
  const message = `${device} is missing: load the kernel module (modprobe fuse); a container is given it by --device ${device}`;
  return new DiskError('NOT_FOUND', message, { errno: 'ENOENT', cause });
}
