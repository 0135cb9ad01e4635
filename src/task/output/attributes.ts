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

/**
 * Gives them to another file: the owner as far as this user may, and of the rest what its filesystem knows.
 *
 * @param onWarning told of each extended attribute, and of a mode, that could not be kept
 */
export async function applyAttributes(
  fd: number,
  attributes: Attributes,
  what: string,
  onWarning: (message: string) => void,
): Promise<void> {
  const { mode, uid, gid, xattrs } = attributes;
  // The group alone is often allowed where the owner is not.
  await chownFd(fd, uid, gid).catch(() => chownFd(fd, -1, gid).catch(() => undefined));
  for (const [name, value] of xattrs) {
    const errno = setXattr(fd, name, value);
    if (errno !== undefined) onWarning(`${what}: the attribute ${name} is not kept (${errno})`);
  }
  // After the access list, which sets the mode as well.
  await chmodFd(fd, mode).catch((error: unknown) => {
    onWarning(`${what}: the mode ${mode.toString(8)} is not kept (${errnoOf(error) ?? errnoName(0)})`);
  });
  setTimes(fd, attributes, what);
}
