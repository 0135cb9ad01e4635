import { errnoName } from './errno.js';
import { tryCall } from './libc.js';

/** Extended attributes: security labels, access lists and what users attach to their files. */

/** The largest value that Linux allows (XATTR_SIZE_MAX), and the largest list of names (XATTR_LIST_MAX): bytes. */
const largest = 65_536;

/** Names as `user.note`; none where the filesystem has no such thing. */
export function listXattrs(fd: number): string[] {
  const list = Buffer.alloc(largest);
  const length = Number(tryCall('flistxattr', fd, list, list.length));
  if (length <= 0) return [];
  return list
    .toString('utf8', 0, length)
    .split('\0')
    .filter((name) => name !== '');
}

/** The value, or undefined when it is gone or may not be read. */
export function getXattr(fd: number, name: string): Buffer | undefined {
  const value = Buffer.alloc(largest);
  const length = Number(tryCall('fgetxattr', fd, name, value, value.length));
  return length < 0 ? undefined : value.subarray(0, length);
}

/** @returns undefined, or the errno name when it could not be set */
export function setXattr(fd: number, name: string, value: Uint8Array): string | undefined {
  const result = Number(tryCall('fsetxattr', fd, name, value, value.length, 0));
  return result < 0 ? errnoName(-result) : undefined;
}
