import { rawCrc32c } from '../../binary/crc.js';
import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import type { Xattr } from '../file.js';
import { aclToXattr } from './acl.js';
import { readEaInode } from './ea-inode.js';
import { xattrAcls, xattrHeader, xattrMagic, xattrPrefixes } from './file-on-disk.js';
import { inodeXattrs } from './inline-data.js';
import type { Inode } from './inode.js';
import { roCompat } from './on-disk.js';
import type { ExtVolume } from './volume.js';
import { readXattrEntries, type XattrEntry } from './xattr-entries.js';

/**
 * The extended attributes of an inode that are its users': those in itself, then those in its block.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function readXattrs(volume: ExtVolume, inode: Inode, options: RequestOptions): Promise<readonly Xattr[]> {
  const found = new Map<string, Xattr>();
  for (const entry of await allXattrs(volume, inode, options)) {
    const prefix = xattrPrefixes.get(entry.index);
    if (prefix === undefined) continue;
    const acl = xattrAcls.has(entry.index);
    const name = acl ? Buffer.from(prefix) : Buffer.concat([Buffer.from(prefix), entry.name]);
    const key = name.toString('latin1');
    // The kernel looks into the inode first.
    if (found.has(key)) continue;
    const value = entry.valueInode === 0 ? entry.value : await readEaInode(volume, inode, entry, options);
    found.set(key, { name, value: acl ? aclToXattr(value, inode.place) : value });
  }
  return [...found.values()];
}

/** All of them, the filesystem's own included. */
export async function allXattrs(
  volume: ExtVolume,
  inode: Inode,
  options: RequestOptions,
): Promise<readonly XattrEntry[]> {
  const own = inodeXattrs(inode);
  return inode.xattrBlock === 0 ? own : [...own, ...(await blockXattrs(volume, inode, options))];
}

async function blockXattrs(volume: ExtVolume, inode: Inode, options: RequestOptions): Promise<readonly XattrEntry[]> {
  const { xattrBlock: number } = inode;
  const block = await volume.block(number, { ...inode.place, field: 'i_file_acl' }, options);
  const place = volume.place(`extended attributes of ext4 inode ${inode.number}`, number);
  const view = viewOf(block);
  const header = xattrHeader.at(view);
  if (header.h_magic !== xattrMagic) throw wrong(place, 'h_magic', header.h_magic, xattrMagic);
  if (header.h_blocks !== 1) throw wrong(place, 'h_blocks', header.h_blocks, 1);
  if (roCompat.has(volume.superblock.roCompat, 'metadata_csum')) {
    const label = new Uint8Array(8);
    viewOf(label).setBigUint64(0, BigInt(number), true);
    const covered = Uint8Array.from(block);
    const { offset, size } = xattrHeader.fields.h_checksum;
    covered.fill(0, offset, offset + size);
    const expected = [label, covered].reduce(rawCrc32c, volume.superblock.checksumSeed);
    if (header.h_checksum !== expected) throw wrong(place, 'h_checksum', header.h_checksum, expected);
  }
  return readXattrEntries(view, xattrHeader.size, place);
}

function wrong(place: Place, field: string, actual: number, expected: number): DiskError {
  return DiskError.corrupt({ ...place, field, actual: hex(actual), expected: hex(expected) });
}
