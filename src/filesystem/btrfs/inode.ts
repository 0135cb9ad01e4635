import { viewOf } from '../../binary/layout.js';
import type { Range } from '../../binary/range-set.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import type { FileAttributes, FileType } from '../file.js';
import { modeTypeMask, modeTypes, permissions } from '../posix.js';
import { inodeItem } from './file-on-disk.js';
import { keyTypes } from './on-disk.js';
import type { Subvolume } from './subvolume.js';
import { findItem } from './tree.js';
import type { BtrfsVolume } from './volume.js';

/** An inode in use, checked. */
export interface Inode {
  readonly subvolume: Subvolume;
  readonly number: bigint;
  readonly type: FileType;
  readonly attributes: FileAttributes;
  /** Where it lies: of two copies the one that was read. */
  readonly record: Range;
  /** Where it lies, for messages. */
  readonly place: Place;
}

/**
 * Reads an inode that has a name.
 *
 * @param place where its number comes from
 * @throws {DiskError} CORRUPT when there is none of that number or its fields make no sense; IO, CANCELLED
 */
export async function readInode(
  volume: BtrfsVolume,
  subvolume: Subvolume,
  number: bigint,
  place: Place,
  options: RequestOptions,
): Promise<Inode> {
  const key = { objectid: number, type: keyTypes.INODE_ITEM, offset: 0n };
  const item = await findItem(volume, subvolume.root, key, options);
  if (item === undefined) throw DiskError.corrupt({ ...place, actual: number, expected: 'an inode that there is' });
  const own = { ...item.place, structure: `btrfs inode ${number} of tree ${subvolume.id}` };
  const wrong = (field: string, actual: string | number | bigint, expected: string) =>
    DiskError.corrupt({ ...own, field, actual, expected });
  if (item.data.length < inodeItem.size) throw wrong('size', item.data.length, `at least ${inodeItem.size}`);
  const raw = inodeItem.at(viewOf(item.data));
  const type = modeTypes.get(raw.mode & modeTypeMask);
  if (type === undefined) throw wrong('mode', hex(raw.mode), 'the type of a file');
  if (raw.size >= 2n ** 63n) throw wrong('size', raw.size, 'below 2^63');
  if (raw.nlink === 0) throw wrong('nlink', 0, 'at least 1');
  const unit = BigInt(volume.superblock.sectorSize);
  const attributes: FileAttributes = {
    mode: raw.mode & permissions,
    uid: raw.uid,
    gid: raw.gid,
    size: raw.size,
    links: raw.nlink,
    allocated: ((raw.nbytes + unit - 1n) / unit) * unit,
    device: type === 'char' || type === 'block' ? deviceOf(raw.rdev) : undefined,
    atimeNs: timeOf(raw.atime, raw.atime_nsec),
    mtimeNs: timeOf(raw.mtime, raw.mtime_nsec),
    ctimeNs: timeOf(raw.ctime, raw.ctime_nsec),
    // Who made it did not say.
    birthNs: raw.otime === 0n && raw.otime_nsec === 0 ? undefined : timeOf(raw.otime, raw.otime_nsec),
  };
  const record = { offset: item.place.offset, length: BigInt(item.data.length) };
  return { subvolume, number, type, attributes, record, place: own };
}

function timeOf(seconds: bigint, nanoseconds: number): bigint {
  return seconds * 1_000_000_000n + BigInt(nanoseconds);
}

/** 20 bits of minor below the major: linux/kdev_t.h, MKDEV. */
function deviceOf(rdev: bigint): { major: number; minor: number } {
  return { major: Number(BigInt.asUintN(12, rdev >> 20n)), minor: Number(BigInt.asUintN(20, rdev)) };
}
