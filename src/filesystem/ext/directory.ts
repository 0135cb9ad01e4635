import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import { blockRuns } from './block-runs.js';
import { checkDirectoryBlock, entriesIn, type RawEntry } from './directory-block.js';
import { inlineParentSize, inodeFlags } from './file-on-disk.js';
import { inlineParts } from './inline-data.js';
import type { Inode } from './inode.js';
import type { ExtVolume } from './volume.js';

/**
 * The entries of a directory but `.` and `..`, in the order of its blocks. Those of an index look like unused entries: a
 * directory with an index is read like any other.
 *
 * It ends: no more blocks are read than its size says, each of them once.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* readDirectory(
  volume: ExtVolume,
  inode: Inode,
  options: RequestOptions,
): AsyncGenerator<RawEntry, void, undefined> {
  const encrypted = inodeFlags.has(inode.flags, 'ENCRYPT');
  for await (const { region, start, place, first } of regions(volume, inode, options)) {
    let dotsSeen = first ? 0 : dots.length;
    for (const entry of entriesIn(region, start, place)) {
      if (dotsSeen < dots.length) checkDot(inode, entry, dotsSeen++, place);
      else {
        // A name that is encrypted may hold any bytes.
        if (!encrypted) checkName(entry, place);
        yield entry;
      }
    }
    if (dotsSeen < dots.length) {
      throw DiskError.corrupt({ ...place, field: 'its first entries', actual: dotsSeen, expected: '"." and ".."' });
    }
  }
}

/** What entries tile. */
interface Region {
  readonly region: DataView;
  readonly start: number;
  readonly place: Place;
  /** Whether it begins with `.` and `..`. */
  readonly first: boolean;
}

async function* regions(volume: ExtVolume, inode: Inode, options: RequestOptions): AsyncGenerator<Region> {
  const structure = `directory, ext4 inode ${inode.number}`;
  if (inodeFlags.has(inode.flags, 'INLINE_DATA')) {
    const region = Buffer.concat(inlineParts(inode).map(({ bytes }) => bytes));
    yield { region: viewOf(region), start: inlineParentSize, place: { ...inode.place, structure }, first: false };
    return;
  }
  const { superblock } = volume;
  const count = inode.size / superblock.blockSize;
  const wrong = (field: string, actual: number, expected: string) =>
    DiskError.corrupt({ ...inode.place, field, actual, expected });
  if (!Number.isInteger(count) || count === 0) {
    throw wrong('i_size', inode.size, `a multiple of ${superblock.blockSize}`);
  }
  let next = 0;
  for await (const { role, fileBlock, block, count: length, unwritten } of blockRuns(volume, inode, options)) {
    if (role !== 'content' || next === count) continue;
    if (fileBlock !== next || unwritten) throw wrong('block of the directory', next, 'no hole in it');
    for (let i = 0; i < length && next < count; i++, next++) {
      const view = viewOf(await volume.block(block + i, inode.place, options));
      const place = volume.place(structure, block + i);
      checkDirectoryBlock(superblock, inode, view, next, place);
      yield { region: view, start: 0, place, first: next === 0 };
    }
  }
  if (next < count) throw wrong('blocks of the directory', next, `${count}, by its size`);
}

const dots = [Buffer.from('.'), Buffer.from('..')];

function checkDot(inode: Inode, { name, inode: number }: RawEntry, dot: number, place: Place): void {
  const right = dots[dot]?.equals(name) === true && (dot === 1 || number === inode.number);
  if (right) return;
  const expected = dot === 0 ? `".", inode ${inode.number}` : '".."';
  const actual = `"${Buffer.from(name).toString()}", inode ${number}`;
  throw DiskError.corrupt({ ...place, field: dot === 0 ? 'its first entry' : 'its second entry', actual, expected });
}

function checkName({ name }: RawEntry, place: Place): void {
  if (!name.includes(0) && !name.includes(0x2f) && !dots.some((dot) => dot.equals(name))) return;
  const actual = `"${Buffer.from(name).toString()}"`;
  throw DiskError.corrupt({ ...place, field: 'name', actual, expected: 'that of a file, without "/" and NUL' });
}
