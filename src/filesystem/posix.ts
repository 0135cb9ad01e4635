import { layout, u16, u32, viewOf } from '../binary/layout.js';
import type { FileType } from './file.js';

/** What all filesystems of Unix keep of a file in the same way. */

/** Of a mode, the bits that say what it is, and what they can be: inode(7). */
export const modeTypeMask = 0xf000;
export const modeTypes: ReadonlyMap<number, FileType> = new Map([
  [0x1000, 'fifo'],
  [0x2000, 'char'],
  [0x4000, 'directory'],
  [0x6000, 'block'],
  [0x8000, 'file'],
  [0xa000, 'symlink'],
  [0xc000, 'socket'],
]);
/** Of a mode, the bits that say what may be done with it. */
export const permissions = 0o7777;

/** Whom an entry of an access list is for: those with a user's or group's number, and those without. acl(5). */
export const aclTags = { named: [0x02, 0x08], unnamed: [0x01, 0x04, 0x10, 0x20] } as const;

export interface AclEntry {
  readonly tag: number;
  readonly permissions: number;
  /** Of a user or group; undefined where the tag has none. */
  readonly id?: number | undefined;
}

/** An access list as getxattr(2) and setxattr(2) take it: a version of 4 bytes, then these. */
const posixAclEntry = layout(
  'posix_acl_xattr_entry',
  { size: 8, endian: 'little', spec: 'linux/posix_acl_xattr.h' },
  {
    e_tag: u16(0x0, 'enum', 'whom it is for'),
    e_perm: u16(0x2, 'flags', 'read, write, execute'),
    e_id: u32(0x4, 'user or group', 'all ones where there is none'),
  },
);
const posixAcl = { version: 2, headerSize: 4, noId: 0xffff_ffff } as const;

/** An access list as getxattr(2) gives it. */
export function aclXattr(entries: readonly AclEntry[]): Uint8Array {
  const xattr = new Uint8Array(posixAcl.headerSize + entries.length * posixAclEntry.size);
  const into = viewOf(xattr);
  into.setUint32(0, posixAcl.version, true);
  entries.forEach(({ tag, permissions: allowed, id = posixAcl.noId }, i) => {
    posixAclEntry.put(into, { e_tag: tag, e_perm: allowed, e_id: id }, posixAcl.headerSize + i * posixAclEntry.size);
  });
  return xattr;
}
