import { DiskError } from '../error/disk-error.js';
import { findBlockUsers } from '../host/block-claim.js';
import type { FileIdentity } from '../host/file-identity.js';
import { findHolders, type Holder } from '../host/holders.js';
import { findLoopDevices, type LoopDevice } from '../host/loop-devices.js';

/** Names listed in one message. */
const mostNames = 3;

/** Everybody who can be seen to use a file or block device. */
export interface Users {
  readonly holders: readonly Holder[];
  readonly loops: readonly LoopDevice[];
  readonly mountPoints: readonly string[];
  /** Block devices made of this one. */
  readonly devices: readonly string[];
}

/**
 * @param own descriptors of this process that do not count
 * @param rdev of a block device
 */
export async function findUsers(file: FileIdentity, own: readonly number[], rdev?: bigint): Promise<Users> {
  const [holders, loops, block] = await Promise.all([
    findHolders(file, own),
    findLoopDevices(file),
    rdev === undefined ? undefined : findBlockUsers(rdev),
  ]);
  return {
    holders,
    loops,
    mountPoints: block?.mounts.map(({ mountPoint }) => mountPoint) ?? [],
    devices: block?.holders ?? [],
  };
}

export function hasWriter({ holders, loops }: Users): boolean {
  return [...holders, ...loops].some(({ writable }) => writable);
}

export function hasAnybody({ holders, loops }: Users): boolean {
  return holders.length + loops.length > 0;
}

/** `process 4242 (qemu-system-x86)`, `/dev/loop3`, …; those who write alone when there are any. */
export function nameUsers(users: Users): string {
  const writers = hasWriter(users);
  const matters = ({ writable }: { writable: boolean }) => writable || !writers;
  const names = [
    ...users.mountPoints.map((path) => `the mount on ${path}`),
    ...users.devices.map((name) => `/dev/${name}`),
    ...users.loops.filter(matters).map(({ path }) => path),
    ...users.holders.filter(matters).map(({ pid, command }) => {
      return pid === process.pid ? 'this very process' : `process ${pid} (${command})`;
    }),
  ];
  if (names.length === 0) return 'a process that cannot be seen';
  const more = names.length - mostNames;
  const listed = names.slice(0, mostNames).join(', ');
  return more > 0 ? `${listed} and ${more} more` : listed;
}

function advice({ mountPoints, devices, loops, holders }: Users): string {
  if (holders.some(({ command }) => /^(qemu-system|qemu-kvm|kvm)/.test(command))) return 'shut the guest down first';
  if (mountPoints.length > 0) return 'unmount it first';
  if (devices.length > 0) return 'take that apart first';
  const [loop] = loops;
  if (loop !== undefined) return `detach it first: losetup -d ${loop.path}`;
  if (holders.length === 0) return 'shut down first what uses it, be it a guest, a mount or a program';
  return holders.length === 1 ? 'stop it or wait for its end' : 'stop them or wait for their end';
}

/**
 * `guest.img: in use by process 4242 (qemu-system-x86): shut the guest down first`.
 *
 * @param access what it was to be opened for: who only reads may do so in spite of others
 */
export function inUse(
  name: string,
  users: Users,
  reason: 'writer' | 'reader' | 'lock',
  access: 'read' | 'write',
): DiskError {
  const instead = access === 'read' ? ', or read it as it is: --force-share' : '';
  return new DiskError('BUSY', `${name}: in use by ${nameUsers(users)}: ${advice(users)}${instead}`, {
    device: name,
    reason: `in-use-by-${reason}`,
  });
}
