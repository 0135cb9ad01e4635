import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import {
  directoryAlignment,
  directoryHeader,
  directoryHeaderSizes,
  directoryIndex,
  directoryLeafEntry,
  directoryMagics,
  directoryTail,
  shortDirectory,
  unusedTag,
} from './file-on-disk.js';
import { blockRuns } from './fork-map.js';
import { checkIdentity } from './identity.js';
import type { Inode } from './inode.js';
import { hasFileTypes } from './superblock.js';
import type { XfsVolume } from './volume.js';

/** An entry as it lies on the disk. */
export interface RawEntry {
  readonly name: Buffer;
  readonly inode: bigint;
}

/**
 * The entries of a directory but `.` and `..`, in the order of its blocks. The index behind them is not needed.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* readDirectory(
  volume: XfsVolume,
  inode: Inode,
  options: RequestOptions,
): AsyncGenerator<RawEntry, void, undefined> {
  const entries = inode.data.format === 'local' ? shortEntries(volume, inode) : blockEntries(volume, inode, options);
  for await (const entry of entries) {
    if (entry.name.equals(dot) || entry.name.equals(dotDot)) continue;
    if (entry.name.length === 0 || entry.name.includes(0) || entry.name.includes(slash)) {
      const actual = `"${entry.name.toString()}"`;
      throw DiskError.corrupt({ ...inode.place, field: 'a name in it', actual, expected: 'one without "/" and NUL' });
    }
    yield entry;
  }
}

const dot = Buffer.from('.');
const dotDot = Buffer.from('..');
const slash = 0x2f;

/** Of a directory that lies in its inode. It ends: each entry takes 7 bytes at least. */
function* shortEntries(volume: XfsVolume, { data, place, size }: Inode): Generator<RawEntry> {
  const wrong = (field: string, actual: number | bigint, expected: string) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  const { bytes } = data;
  if (size < shortDirectory.size || size > bytes.length) throw wrong('di_size', size, `at most ${bytes.length}`);
  const view = viewOf(bytes.subarray(0, Number(size)));
  const { count, i8count } = shortDirectory.at(view);
  const inodeSize = i8count === 0 ? 4 : 8;
  const typeSize = hasFileTypes(volume.superblock) ? 1 : 0;
  // Behind the inode of "..".
  let at = shortDirectory.size + inodeSize;
  for (let i = 0; i < count; i++) {
    const nameLength = at < view.byteLength ? view.getUint8(at) : 0;
    // Behind the length of the name, and its place among others.
    const start = at + 3;
    const end = start + nameLength + typeSize + inodeSize;
    if (nameLength === 0 || end > view.byteLength) throw wrong('namelen', nameLength, 'one that fits');
    const number = end - inodeSize;
    yield {
      name: Buffer.from(bytes.subarray(start, start + nameLength)),
      inode: inodeSize === 4 ? BigInt(view.getUint32(number)) : view.getBigUint64(number),
    };
    at = end;
  }
  if (at !== view.byteLength) throw wrong('di_size', size, `${at}, where its entries end`);
}

async function* blockEntries(volume: XfsVolume, inode: Inode, options: RequestOptions): AsyncGenerator<RawEntry> {
  const { blockSize, directoryBlockSize } = volume.superblock;
  const perBlock = directoryBlockSize / blockSize;
  const index = Number(directoryIndex / BigInt(blockSize));
  /** The blocks of the device that make the next block of the directory. */
  let gathered: number[] = [];
  let next = 0;
  let only = true;
  for await (const { role, fileBlock, block, count, unwritten } of blockRuns(volume, inode, inode.data, options)) {
    if (role === 'map') continue;
    for (let i = 0; i < count && fileBlock + i < index; i++) {
      const at = fileBlock + i;
      if (unwritten || at !== (gathered.length === 0 ? roundUp(at, perBlock) : next)) {
        throw DiskError.corrupt({
          ...inode.place,
          field: 'block of the directory',
          actual: at,
          expected: 'no hole there',
        });
      }
      gathered.push(block + i);
      next = at + 1;
      if (gathered.length < perBlock) continue;
      const kind = yield* entriesOf(volume, inode, gathered, options);
      // A block that has its index within it is the only one.
      if (kind === 'block' && (!only || at !== perBlock - 1)) {
        throw DiskError.corrupt({
          ...inode.place,
          field: 'block of the directory',
          actual: at,
          expected: 'the only one',
        });
      }
      only = false;
      gathered = [];
    }
  }
  if (gathered.length > 0) {
    throw DiskError.corrupt({ ...inode.place, field: 'last block of the directory', actual: 'cut short' });
  }
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** The entries of one block of a directory. It ends: each takes 16 bytes at least. */
async function* entriesOf(
  volume: XfsVolume,
  inode: Inode,
  blocks: readonly number[],
  options: RequestOptions,
): AsyncGenerator<RawEntry, 'block' | 'data', undefined> {
  const { superblock } = volume;
  const [first = 0] = blocks;
  const offset = volume.offsetOf(first);
  const place = volume.place(`directory, inode ${inode.number}`, offset);
  const parts = [];
  for (const block of blocks) parts.push(await volume.blocks(block, 1, place, options));
  const bytes = parts.length === 1 && parts[0] !== undefined ? Buffer.from(parts[0]) : Buffer.concat(parts);
  const view = viewOf(bytes);
  const wrong = (field: string, actual: string | number | bigint, expected: string | number | bigint) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  const checked = superblock.version >= 5 ? 1 : 0;
  const magic = view.getUint32(0);
  const { block: only, data } = directoryMagics;
  if (magic !== only[checked] && magic !== data[checked]) {
    throw wrong('magic', hex(magic), `${hex(only[checked])} or ${hex(data[checked])}`);
  }
  if (checked === 1) {
    const { uuid, owner, blkno } = directoryHeader.at(view);
    const own = { prefix: '', crc: directoryHeader.fields.crc.offset, uuid, owner, blkno };
    checkIdentity(volume, bytes, own, { owner: inode.number, offset }, place);
  }
  const kind = magic === only[checked] ? 'block' : 'data';
  const end = kind === 'block' ? indexStart(view, place) : bytes.length;
  const typeSize = hasFileTypes(superblock) ? 1 : 0;
  for (let at: number = directoryHeaderSizes[checked]; at < end; ) {
    if (at + directoryAlignment * 2 > end && at + directoryAlignment !== end) throw wrong('entry', at, `before ${end}`);
    const unused = view.getUint16(at) === unusedTag;
    const nameLength = view.getUint8(Math.min(at + 8, end - 1));
    const length = unused ? view.getUint16(at + 2) : roundUp(8 + 1 + nameLength + typeSize + 2, directoryAlignment);
    if (length === 0 || length % directoryAlignment !== 0 || at + length > end) {
      throw wrong('length of an entry', length, `at most ${end - at}, in steps of ${directoryAlignment}`);
    }
    const tag = view.getUint16(at + length - 2);
    if (tag !== at) throw wrong('tag', tag, at);
    if (!unused) {
      if (nameLength === 0) throw wrong('namelen', 0, 'at least 1');
      yield { name: bytes.subarray(at + 9, at + 9 + nameLength), inode: view.getBigUint64(at) };
    }
    at += length;
  }
  return kind;
}

/** Where the index begins in a block that has it within. */
function indexStart(view: DataView, place: Place): number {
  const tail = view.byteLength - directoryTail.size;
  const { count } = directoryTail.at(view, tail);
  const start = tail - count * directoryLeafEntry;
  if (start >= directoryHeaderSizes[1]) return start;
  throw DiskError.corrupt({ ...place, field: 'count', actual: count, expected: 'an index that fits' });
}
