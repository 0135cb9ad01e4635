import { isRangeLocked, lockRange, unlockRange } from './record-lock.js';

/**
 * The protocol by which QEMU's processes keep out of each other's way (block/file-posix.c). Each permission on an image
 * has a number. Who uses permission i holds a read lock on byte 100 + i; who does not let others use it holds one on byte
 * 200 + i. Nobody takes write locks: having locked its own bytes, each looks whether anybody else has locked a byte that
 * contradicts them.
 */
const usedBase = 100n;
const notSharedBase = 200n;

/** QEMU's BLK_PERM_* by bit number (include/block/block-common.h). */
const permissions = { consistentRead: 0n, write: 1n, writeUnchanged: 2n, resize: 3n, graphMod: 4n } as const;
type Permission = keyof typeof permissions;
const all: readonly Permission[] = ['consistentRead', 'write', 'writeUnchanged', 'resize', 'graphMod'];

/** What somebody who opens an image does with it, and does not let others do at the same time. */
interface Claim {
  readonly uses: readonly Permission[];
  readonly excludes: readonly Permission[];
}

const claims: Readonly<Record<'read' | 'write', Claim>> = {
  // As qemu-img opens a source.
  read: { uses: ['consistentRead'], excludes: ['write', 'resize'] },
  // Nothing is shared: what reads the base of an overlay cares about every byte of it.
  write: { uses: all, excludes: all },
};

/**
 * Takes the locks, to be held until the descriptor is closed.
 *
 * @returns false when somebody else has the image open in a way that contradicts this one; then some of the locks may
 * have been taken, so close the descriptor
 * @throws {DiskError} by errno where the filesystem takes no locks
 */
export function takeQemuLock(fd: number, access: 'read' | 'write', what: string): boolean {
  const { uses, excludes } = claims[access];
  const own = [
    ...uses.map((name) => usedBase + permissions[name]),
    ...excludes.map((name) => notSharedBase + permissions[name]),
  ];
  return own.every((byte) => lockRange(fd, 'read', byte, 1n, what)) && !contradictsQemuLock(fd, access, what);
}

/** Gives up the locks that were taken through this descriptor, so that a QEMU which acts for us can take its own. */
export function dropQemuLock(fd: number): void {
  for (const base of [usedBase, notSharedBase]) unlockRange(fd, base, BigInt(all.length));
}

/** Whether somebody else has the image open in a way that contradicts this access. Takes nothing. */
export function contradictsQemuLock(fd: number, access: 'read' | 'write', what: string): boolean {
  // A write lock is no part of the protocol, so it is another's: virtlockd's on byte 0, say.
  if (isRangeLocked(fd, 'read', 0n, 0n, what)) return true;
  // Permissions that a later QEMU adds count as well, and so does any other lock: whoever took it has a reason.
  if (access === 'write') return isRangeLocked(fd, 'write', 0n, 0n, what);
  const { uses, excludes } = claims.read;
  return (
    uses.some((name) => isRangeLocked(fd, 'write', notSharedBase + permissions[name], 1n, what)) ||
    excludes.some((name) => isRangeLocked(fd, 'write', usedBase + permissions[name], 1n, what))
  );
}
