import { viewOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import { extInode, inlineSize, inlineXattr, xattrInodeHeaderSize, xattrMagic } from './file-on-disk.js';
import type { Inode } from './inode.js';
import { readXattrEntries, type XattrEntry } from './xattr-entries.js';

/** Content that lies in an inode: a part of its bytes. */
export interface InlinePart {
  /** Bytes from the start of the inode. */
  readonly start: number;
  readonly bytes: Uint8Array;
}

/**
 * The room of an inode with INLINE_DATA for content, in order: i_block, and the value of an attribute of its own.
 * Documentation/filesystems/ext4: Inline Data.
 *
 * @throws {DiskError} CORRUPT
 */
export function inlineParts(inode: Inode): readonly InlinePart[] {
  const start = extInode.fields.i_block.offset;
  const head = { start, bytes: inode.bytes.subarray(start, start + inlineSize) };
  const rest = inodeXattrs(inode).find(({ index, name }) => {
    return index === inlineXattr.index && Buffer.from(name).toString('latin1') === inlineXattr.name;
  });
  if (rest === undefined || rest.valueSize === 0) return [head];
  if (rest.valueInode !== 0) {
    throw DiskError.corrupt({ ...inode.place, field: 'e_value_inum', actual: rest.valueInode, expected: 0 });
  }
  return [head, { start: xattrRegionStart(inode) + rest.valueStart, bytes: rest.value }];
}

/**
 * The extended attributes that an inode holds itself.
 *
 * @throws {DiskError} CORRUPT
 */
export function inodeXattrs(inode: Inode): readonly XattrEntry[] {
  const { bytes, xattrStart, place } = inode;
  if (xattrStart === undefined || xattrStart + xattrInodeHeaderSize > bytes.length) return [];
  // Without the magic there are none: whatever else lies there was never claimed.
  if (viewOf(bytes).getUint32(xattrStart, true) !== xattrMagic) return [];
  return readXattrEntries(viewOf(bytes.subarray(xattrRegionStart(inode))), 0, place);
}

function xattrRegionStart({ xattrStart = 0 }: Inode): number {
  return xattrStart + xattrInodeHeaderSize;
}

/** @returns how many bytes of content each part holds, of `size` in all; what is more reads as zeros */
export function inlineContent(inode: Inode, size: number): readonly InlinePart[] {
  let left = size;
  const parts: InlinePart[] = [];
  for (const { start, bytes } of inlineParts(inode)) {
    const held = bytes.subarray(0, left);
    if (held.length > 0) parts.push({ start, bytes: held });
    left -= held.length;
  }
  return parts;
}
