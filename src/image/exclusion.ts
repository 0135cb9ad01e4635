import { setTimeout as sleep } from 'node:timers/promises';
import { DiskError, hasCode } from '../error/disk-error.js';
import { errnoMeaning } from '../host/errno.js';
import type { FileIdentity } from '../host/file-identity.js';
import { hostFilesystem } from '../host/filesystem-type.js';
import { flock } from '../host/fs-ext.js';
import type { Openers } from '../host/lease.js';
import { contradictsQemuLock, takeQemuLock } from '../host/qemu-lock.js';
import { findUsers, hasAnybody, hasWriter, inUse, nameUsers } from './in-use.js';

/** What is asked of the others who may have the same image open. */
export interface ShareOptions {
  /** Read although somebody writes. */
  readonly forceShare?: boolean | undefined;
  /** Write although others read, or although nobody can tell. */
  readonly force?: boolean | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** An image that is being opened. */
export interface Opening {
  /** As the user gave it. */
  readonly name: string;
  readonly access: 'read' | 'write';
  readonly file: FileIdentity;
  /** Of a block device. */
  readonly rdev?: bigint | undefined;
  readonly options: ShareOptions;
}

/** udev looks at a block device, under a lock of its own, whenever something has written to it. */
const udevTries = 20;
const udevWait = 50;

/** Filesystems that turn flock(2) into locks on ranges, which would then be in the way of our own. */
const flockIsRange = ['nfs', 'nfs4', 'cifs', 'smb3'];

/** Refuses, or warns of, somebody in the way. */
export async function refuse(
  { name, access, file, rdev, options }: Opening,
  own: readonly number[],
  reason: 'writer' | 'reader' | 'lock',
): Promise<void> {
  const users = await findUsers(file, own, rdev);
  if (access === 'read' && options.forceShare === true) {
    options.onWarning?.(`${name}: may be written to by ${nameUsers(users)}: what is read need not fit together`);
  } else if (access === 'write' && reason === 'reader' && options.force === true && !hasWriter(users)) {
    options.onWarning?.(`${name}: read by ${nameUsers(users)}, who will see it change`);
  } else throw inUse(name, users, reason, access);
}

/** Takes the locks that last until `fd` is closed: against other disktools, and against QEMU. */
export async function takeLocks(opening: Opening, fd: number): Promise<void> {
  const { name, access, options } = opening;
  try {
    if (access === 'read' && options.forceShare === true) {
      if (contradictsQemuLock(fd, 'read', name)) await refuse(opening, [fd], 'lock');
      return;
    }
    if (!flockIsRange.includes(hostFilesystem(fd).type) && !(await takeFlock(opening, fd))) {
      return await refuse(opening, [fd], 'lock');
    }
    if (!takeQemuLock(fd, access, name)) await refuse(opening, [fd], 'lock');
  } catch (error) {
    if (!hasCode(error, 'IO', 'UNSUPPORTED') || error.errno === undefined) throw error;
    if (access === 'read') return;
    const { type } = hostFilesystem(fd);
    const doubt = `${name}: ${type} takes no locks here (${error.errno}), so nobody can tell whether a guest uses it`;
    if (options.force !== true) throw new DiskError('UNSAFE', doubt, { device: name, cause: error });
    options.onWarning?.(doubt);
  }
}

async function takeFlock({ name, access, rdev }: Opening, fd: number): Promise<boolean> {
  const operation = access === 'write' ? 'exclusive' : 'shared';
  for (let tries = rdev === undefined ? 1 : udevTries; tries > 0; tries--) {
    if (flock(fd, operation, name)) return true;
    if (tries > 1) await sleep(udevWait);
  }
  return false;
}

/**
 * Acts on what a lease told of the others; where it told nothing, on the processes and loop devices that can be seen.
 */
export async function judgeOpeners(opening: Opening, fd: number, openers: Openers): Promise<void> {
  if (openers.found === 'none') return;
  const { name, access, file, rdev, options } = opening;
  if (openers.found === 'some') return await refuse(opening, [fd], access === 'read' ? 'writer' : 'reader');
  const users = await findUsers(file, [fd], rdev);
  if (hasWriter(users)) return await refuse(opening, [fd], 'writer');
  // Block devices have their claims. Who only reads one often just passes by: udev, smartd, a list of partitions.
  if (access === 'read' || rdev !== undefined) return;
  if (hasAnybody(users)) return await refuse(opening, [fd], 'reader');
  const why =
    openers.errno === 'EACCES' || openers.errno === 'EPERM'
      ? 'only its owner and root may ask'
      : `${hostFilesystem(fd).type} cannot tell: ${errnoMeaning(openers.errno)}`;
  options.onWarning?.(`${name}: could not check whether a program has it open without a lock (${why})`);
}
