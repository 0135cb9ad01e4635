import { attributes, S_IFDIR, S_IFREG } from './on-wire.js';
import type { ShownFile, Usage } from './shown-file.js';
import type { FileNode, FolderNode } from './tree.js';

/** Whose the files are, and what others may do with them. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
  /** Permission bits that are taken from all files, as umask(2) does. */
  readonly mask: number;
  /** Seconds since 1970: when the mount was made. */
  readonly since: number;
}

const blockSize = 4096;

export function putAttributes(
  view: DataView,
  at: number,
  { id, file }: FileNode<ShownFile>,
  { allocated, modified }: Usage,
  { uid, gid, mask }: Owner,
): void {
  const seconds = modified / 1_000_000_000n;
  const nanoseconds = Number(modified % 1_000_000_000n);
  const permissions = (file.writable ? 0o666 : 0o444) & ~mask;
  attributes.put(
    view,
    {
      ino: id,
      size: file.size,
      blocks: (allocated + 511n) / 512n,
      atime: seconds,
      mtime: seconds,
      ctime: seconds,
      atimensec: nanoseconds,
      mtimensec: nanoseconds,
      ctimensec: nanoseconds,
      mode: S_IFREG | permissions,
      nlink: 1,
      uid,
      gid,
      rdev: 0,
      blksize: blockSize,
      flags: 0,
    },
    at,
  );
}

export function putFolderAttributes(
  view: DataView,
  at: number,
  { id }: FolderNode<ShownFile>,
  { uid, gid, mask, since }: Owner,
): void {
  const seconds = BigInt(since);
  attributes.put(
    view,
    {
      ino: id,
      size: 0n,
      blocks: 0n,
      atime: seconds,
      mtime: seconds,
      ctime: seconds,
      atimensec: 0,
      mtimensec: 0,
      ctimensec: 0,
      mode: S_IFDIR | (0o555 & ~mask),
      nlink: 2,
      uid,
      gid,
      rdev: 0,
      blksize: blockSize,
      flags: 0,
    },
    at,
  );
}
