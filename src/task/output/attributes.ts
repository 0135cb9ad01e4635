import { type BigIntStats, fchmod, fchown, fstat } from 'node:fs';
import { promisify } from 'node:util';
import { errnoName, errnoOf, wrapSystemError } from '../../host/errno.js';
import { setTimes } from '../../host/times.js';
import { getXattr, listXattrs, setXattr } from '../../host/xattr.js';

const chmodFd = promisify(fchmod);
const chownFd = promisify(fchown);
const statFd: (fd: number, options: { bigint: true }) => Promise<BigIntStats> = promisify(fstat);

/** Permissions without set-user-id and its like, which mean nothing on a disk image. */
const permissions = 0o777;

/** What a file keeps when it is copied, besides its bytes. */
export interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

/** Reads them from an open file; undefined for what is no regular file, whose attributes say nothing of its bytes. */
export async function readAttributes(fd: number, what: string): Promise<Attributes | undefined> {
  const stats = await statFd(fd, { bigint: true }).catch((error: unknown) => {
    throw wrapSystemError(`stat ${what}`, error);
  });
  if (!stats.isFile()) return undefined;
  const xattrs = new Map<string, Uint8Array>();
  for (const name of listXattrs(fd)) {
    const value = getXattr(fd, name);
    if (value !== undefined) xattrs.set(name, value);
  }
  const { atimeNs, mtimeNs } = stats;
  return {
    mode: Number(stats.mode) & permissions,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    atimeNs,
    mtimeNs,
    xattrs,
  };
}

/** A user or group that does not change: (uid_t) -1. */
const unchanged = -1;
/** Who runs a file with these becomes its owner, or of its group: nothing for another owner. */
export const setIds = 0o6000;

/**
 * Gives them to another file: the owner as far as this user may, and of the rest what its filesystem knows. Where the
 * owner is not kept, neither are set-user-ID and set-group-ID.
 *
 * @param onWarning told of a mode, and of times, that could not be kept
 * @param onLost told of each extended attribute that could not be kept; a warning unless given
 */
export async function applyAttributes(
  fd: number,
  attributes: Attributes,
  what: string,
  onWarning: (message: string) => void,
  onLost = (name: string, errno: string) => onWarning(`${what}: the attribute ${name} is not kept (${errno})`),
): Promise<void> {
  const { uid, gid, xattrs } = attributes;
  const owned = await chownFd(fd, uid, gid).then(
    () => true,
    () => false,
  );
  // The group alone is often allowed where the owner is not.
  if (!owned) await chownFd(fd, unchanged, gid).catch(() => undefined);
  const mode = owned ? attributes.mode : attributes.mode & ~setIds;
  for (const [name, value] of xattrs) {
    const errno = setXattr(fd, name, value);
    if (errno !== undefined) onLost(name, errno);
  }
  // After the access list, which sets the mode as well.
  await chmodFd(fd, mode).catch((error: unknown) => {
    onWarning(`${what}: the mode ${mode.toString(8)} is not kept (${errnoOf(error) ?? errnoName(0)})`);
  });
  try {
    setTimes(fd, attributes, what);
  } catch (error) {
    // Of a folder that was there and is somebody else's.
    if (errnoOf(error) !== 'EPERM') throw error;
    onWarning(`${what}: the times are not kept (EPERM)`);
  }
}
