import { spawnSync } from 'node:child_process';
import { closeSync, constants } from 'node:fs';
import { DiskError } from '../error/disk-error.js';
import { errnoName, errnoOf, systemError } from './errno.js';
import { type FuseMountOptions, noFuse, openFuse } from './fuse-device.js';
import { callLater, tryCall } from './libc.js';

/** Mounts and unmounts of FUSE filesystems: mount(2) and umount2(2) by root, fusermount3(1) by everybody else. */

/** linux/mount.h. */
const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

/** What /proc/self/mountinfo calls ours. */
export const ourType = 'fuse.disktool';

/**
 * Mounts a FUSE filesystem on a file or a folder.
 *
 * @param path absolute, without symbolic links
 * @returns the descriptor by which its requests come, which does not wait
 * @throws {DiskError} NOT_FOUND, UNSUPPORTED, IO: what is missing, and what to do about it
 */
export async function mountFuse(path: string, options: FuseMountOptions): Promise<number> {
  if (process.geteuid?.() === 0) return mountAsRoot(path, options);
  const { mountByProgram } = await import('./fusermount.js');
  return await mountByProgram(path, options);
}

function mountAsRoot(path: string, { source, readOnly, isFile, allowOther }: FuseMountOptions): number {
  const fd = openFuse();
  const kind = isFile ? constants.S_IFREG : constants.S_IFDIR;
  const options = [
    `fd=${fd}`,
    `rootmode=${kind.toString(8)}`,
    `user_id=${process.geteuid?.() ?? 0}`,
    `group_id=${process.getegid?.() ?? 0}`,
    'default_permissions',
    ...(allowOther ? ['allow_other'] : []),
  ];
  const flags = MS_NOSUID | MS_NODEV | (readOnly ? MS_RDONLY : 0);
  const result = Number(tryCall('mount', source, path, ourType, flags, options.join(',')));
  if (result === 0) return fd;
  closeSync(fd);
  const errno = errnoName(-result);
  if (errno === 'EPERM') {
    throw new DiskError('IO', `mount on ${path}: not permitted (EPERM): a container needs CAP_SYS_ADMIN for it`, {
      errno,
    });
  }
  if (errno === 'ENODEV') throw noFuse();
  throw systemError(`mount on ${path}`, errno);
}

/**
 * Unmounts.
 *
 * @param detach takes the mount out of sight at once, and leaves it to those who have something of it open
 * @returns false when it is in use
 * @throws {DiskError} IO: not ours to unmount
 */
export async function unmountFuse(path: string, { detach = false } = {}): Promise<boolean> {
  if (process.geteuid?.() === 0) {
    try {
      // On another thread: what it has to write first may be for this one to take.
      await callLater('umount', path, path, UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0));
      return true;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'EBUSY') return false;
      // Somebody else has unmounted it.
      if (errno === 'EINVAL' || errno === 'ENOENT') return true;
      throw error;
    }
  }
  const { unmountByProgram } = await import('./fusermount.js');
  return await unmountByProgram(path, detach);
}

/** Takes a mount out of sight when the process ends although nobody has unmounted it: there is no time to wait then. */
export function detachAtExit(path: string): void {
  if (process.geteuid?.() === 0) tryCall('umount', path, UMOUNT_NOFOLLOW | MNT_DETACH);
  else spawnSync('fusermount3', ['-u', '-z', '--', path], { stdio: 'ignore' });
}
