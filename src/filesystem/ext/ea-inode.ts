import { rawCrc32c } from '../../binary/crc.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import { blockRuns } from './block-runs.js';
import { inodeFlags } from './file-on-disk.js';
import { type Inode, readInode } from './inode.js';
import { incompat } from './on-disk.js';
import type { ExtVolume } from './volume.js';
import type { XattrEntry } from './xattr-entries.js';

/**
 * The inode whose content is the value of an attribute.
 *
 * @throws {DiskError} CORRUPT when it cannot be one; IO, CANCELLED
 */
export async function openEaInode(
  volume: ExtVolume,
  owner: Inode,
  entry: XattrEntry,
  options: RequestOptions,
): Promise<Inode> {
  const wrong = (field: string, actual: number, expected: string | number) =>
    DiskError.corrupt({ ...owner.place, field, actual, expected });
  const { valueInode: number, valueSize } = entry;
  const known = incompat.has(volume.superblock.incompat, 'ea_inode');
  if (!known || number === owner.number || number < volume.superblock.firstInode) {
    throw wrong('e_value_inum', number, known ? 'an inode of a value' : 0);
  }
  const inode = await readInode(volume, number, options);
  const plain = inodeFlags.has(inode.flags, 'EA_INODE') && !inodeFlags.has(inode.flags, 'INLINE_DATA');
  if (!plain || inode.type !== 'file') throw wrong('e_value_inum', number, 'an inode marked as that of a value');
  if (inode.size !== valueSize) throw wrong('e_value_size', valueSize, `${inode.size}, the size of inode ${number}`);
  return inode;
}

/**
 * The value of an attribute that has an inode of its own, its hash verified.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function readEaInode(
  volume: ExtVolume,
  owner: Inode,
  entry: XattrEntry,
  options: RequestOptions,
): Promise<Uint8Array> {
  const inode = await openEaInode(volume, owner, entry, options);
  const { blockSize } = volume.superblock;
  // At most 16 MiB: the entry was checked, and the inode has its size.
  const value = new Uint8Array(inode.size);
  let next = 0;
  for await (const { role, fileBlock, block, count, unwritten } of blockRuns(volume, inode, options)) {
    if (role !== 'content' || fileBlock !== next || unwritten) continue;
    for (let i = 0; i < count && next * blockSize < value.length; i++, next++) {
      const bytes = await volume.block(block + i, inode.place, options);
      value.set(bytes.subarray(0, value.length - next * blockSize), next * blockSize);
    }
  }
  if (next * blockSize < value.length) {
    throw DiskError.corrupt({ ...inode.place, field: 'blocks', actual: next, expected: 'as many as its size needs' });
  }
  checkHash(volume, owner, entry, inode, value);
  return value;
}

/** The access time of such an inode is a checksum of its value, which the hash of the entry is made with. */
function checkHash({ superblock }: ExtVolume, owner: Inode, entry: XattrEntry, inode: Inode, value: Uint8Array): void {
  const kept = inode.raw.i_atime >>> 0;
  // Those of Lustre have no checksum, and name their owner instead.
  const namesOwner = inode.raw.i_mtime === owner.number && inode.generation === owner.generation;
  if (entry.hash !== kept && namesOwner) return;
  const hash = rawCrc32c(superblock.checksumSeed, value);
  const wrong = (field: string, actual: number, expected: number) =>
    DiskError.corrupt({ ...inode.place, field, actual: hex(actual), expected: hex(expected) });
  if (kept !== hash) throw wrong('i_atime', kept, hash);
  // Kernels of machines whose char is signed made it another way.
  if (entry.hash !== entryHash(entry.name, hash, false) && entry.hash !== entryHash(entry.name, hash, true)) {
    throw wrong('e_hash', entry.hash, entryHash(entry.name, hash, false));
  }
}

/** Documentation/filesystems/ext4: Extended Attributes; fs/ext4/xattr.c, ext4_xattr_hash_entry. */
function entryHash(name: Uint8Array, valueHash: number, signed: boolean): number {
  const [nameShift, valueShift] = [5, 16];
  let hash = 0;
  for (const byte of name) {
    const character = signed ? (byte << 24) >> 24 : byte;
    hash = (hash << nameShift) ^ (hash >>> (32 - nameShift)) ^ character;
  }
  return ((hash << valueShift) ^ (hash >>> (32 - valueShift)) ^ valueHash) >>> 0;
}
