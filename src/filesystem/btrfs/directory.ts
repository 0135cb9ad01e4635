import { rawCrc32c } from '../../binary/crc.js';
import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Xattr } from '../file.js';
import { directoryItem, longestName, nameHashSeed } from './file-on-disk.js';
import type { Inode } from './inode.js';
import type { Key } from './node.js';
import { diskKey, keyTypes } from './on-disk.js';
import { findItem, type Item, itemsOf } from './tree.js';
import type { BtrfsVolume } from './volume.js';

/** An entry as it lies on the disk. */
export interface RawEntry {
  readonly name: Buffer;
  /** Of an inode of the same subvolume, or of a subvolume. */
  readonly location: Key;
}

/**
 * The entries of a directory, in the order of their index, which is that of their making.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* readDirectory(
  volume: BtrfsVolume,
  inode: Inode,
  options: RequestOptions,
): AsyncGenerator<RawEntry, void, undefined> {
  const from = { objectid: inode.number, type: keyTypes.DIR_INDEX, offset: 0n };
  for await (const item of itemsOf(volume, inode.subvolume.root, from, options)) {
    const [entry, ...others] = named(item);
    if (entry === undefined || others.length > 0) {
      throw DiskError.corrupt({ ...item.place, field: 'names', actual: others.length, expected: 'one an index' });
    }
    yield entryOf(entry, item);
  }
}

/** The entry of a name, found by its hash. @throws {DiskError} CORRUPT; IO, CANCELLED */
export async function findEntry(
  volume: BtrfsVolume,
  inode: Inode,
  name: Uint8Array,
  options: RequestOptions,
): Promise<RawEntry | undefined> {
  const hash = BigInt(rawCrc32c(nameHashSeed, name));
  const key = { objectid: inode.number, type: keyTypes.DIR_ITEM, offset: hash };
  const item = await findItem(volume, inode.subvolume.root, key, options);
  if (item === undefined) return undefined;
  // Several names may have one hash.
  const found = named(item).find((entry) => entry.name.equals(name));
  return found === undefined ? undefined : entryOf(found, item);
}

/**
 * The extended attributes of an inode, by the hash of their names. They lie as getxattr(2) gives them, access lists too.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function readXattrs(
  volume: BtrfsVolume,
  inode: Inode,
  options: RequestOptions,
): Promise<readonly Xattr[]> {
  const found: Xattr[] = [];
  const from = { objectid: inode.number, type: keyTypes.XATTR_ITEM, offset: 0n };
  for await (const item of itemsOf(volume, inode.subvolume.root, from, options)) {
    for (const { name, data } of named(item)) found.push({ name, value: Uint8Array.from(data) });
  }
  return found;
}

interface Named {
  readonly name: Buffer;
  readonly data: Uint8Array;
  readonly location: Key;
}

/** What an item has of names: each takes 31 bytes at least. */
function named({ data, place }: Item): Named[] {
  const view = viewOf(data);
  const found: Named[] = [];
  for (let at = 0; at < data.length; ) {
    const start = at + directoryItem.size;
    const wrong = (field: string, actual: number, expected: string) =>
      DiskError.corrupt({ ...place, field, actual, expected });
    if (start > data.length) throw wrong('size of an entry', data.length - at, `at least ${directoryItem.size}`);
    const { data_len, name_len, location } = directoryItem.at(view, at);
    const end = start + name_len + data_len;
    if (name_len === 0 || name_len > longestName) throw wrong('name_len', name_len, `1 to ${longestName}`);
    if (end > data.length) throw wrong('data_len', data_len, 'what fits');
    const name = Buffer.from(data.subarray(start, start + name_len));
    if (name.includes(0)) throw wrong('name', 0, 'one without NUL');
    const { objectid, type, offset } = diskKey.at(viewOf(location));
    found.push({ name, data: data.subarray(start + name_len, end), location: { objectid, type, offset } });
    at = end;
  }
  return found;
}

const slash = 0x2f;

function entryOf({ name, location }: Named, { place }: Item): RawEntry {
  if (name.includes(slash) || name.equals(dot) || name.equals(dotDot)) {
    const actual = `"${name.toString()}"`;
    throw DiskError.corrupt({ ...place, field: 'name', actual, expected: 'one without "/", and no "." or ".."' });
  }
  if (location.type === keyTypes.INODE_ITEM || location.type === keyTypes.ROOT_ITEM) return { name, location };
  throw DiskError.corrupt({ ...place, field: 'location', actual: location.type, expected: 'an inode or a root' });
}

const dot = Buffer.from('.');
const dotDot = Buffer.from('..');
