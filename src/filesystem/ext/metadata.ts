import { type Range, RangeSet } from '../../binary/range-set.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { MetadataExtent } from '../filesystem.js';
import { blockRuns } from './block-runs.js';
import { rootInode } from './file-on-disk.js';
import { fixedMetadata } from './fixed-metadata.js';
import { type BlockRun, bootBlocks, groupHead, inodeTableLength } from './geometry.js';
import type { Group } from './group.js';
import { readOwnInode } from './inode.js';
import { superblockOffset } from './on-disk.js';
import type { ExtVolume } from './volume.js';

/**
 * What belongs to no file: superblocks and descriptors with the room for more of them, bitmaps, inode tables, the journal
 * and the other inodes that are the filesystem's own.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* metadataOf(
  volume: ExtVolume,
  options: RequestOptions,
): AsyncGenerator<MetadataExtent, void, undefined> {
  let told = RangeSet.empty;
  for await (const { kind, ranges } of kinds(volume, options)) {
    // The inode of the room for descriptors names what is told already, and a block besides.
    const set = RangeSet.of(ranges).subtract(told);
    for (const range of set) yield { kind, ...range };
    told = told.union(set);
  }
}

interface Kind {
  readonly kind: string;
  readonly ranges: Iterable<Range>;
}

async function* kinds(volume: ExtVolume, options: RequestOptions): AsyncGenerator<Kind> {
  const { superblock, groups, device } = volume;
  const { mmpBlock, journalInode } = superblock;
  const run = (start: number, length: number): Range => ({
    offset: volume.offsetOf(start),
    length: volume.offsetOf(length),
  });
  /** Of each group, one by one: there may be millions. */
  function* ofGroups(runsOf: (group: Group) => readonly Range[]): Generator<Range> {
    for (const group of groups) yield* runsOf(group);
  }
  const head = ({ start, end }: BlockRun) => run(start, end - start);
  yield { kind: 'superblock', ranges: [head(bootBlocks(superblock))] };
  yield { kind: 'superblock', ranges: ofGroups(({ number }) => [head(groupHead(superblock, number))]) };
  yield { kind: 'bitmap', ranges: ofGroups(({ blockBitmap }) => [run(blockBitmap, 1)]) };
  yield { kind: 'bitmap', ranges: ofGroups(({ inodeBitmap }) => [run(inodeBitmap, 1)]) };
  const length = inodeTableLength(superblock);
  yield { kind: 'inodes', ranges: ofGroups(({ inodeTable }) => [run(inodeTable, length)]) };
  if (mmpBlock !== 0) yield { kind: 'mmp', ranges: [run(mmpBlock, 1)] };
  for (const number of ownInodesOf(volume)) {
    yield { kind: number === journalInode ? 'journal' : 'own', ranges: await rangesOf(volume, number, options) };
  }
  // With bigalloc, what is left of the clusters that these lie in.
  yield { kind: 'slack', ranges: fixedMetadata(device, superblock, groups) };
}

/** Inodes below the first of files: each is looked at. Those who make filesystems keep 10. */
const mostReserved = 1024;

/** @throws {DiskError} UNSUPPORTED when there are too many */
function ownInodesOf({ superblock, device }: ExtVolume): ReadonlySet<number> {
  const { firstInode, ownInodes } = superblock;
  if (firstInode > mostReserved) {
    const place = { structure: 'ext4 superblock', device: device.name, offset: superblockOffset, field: 's_first_ino' };
    throw DiskError.unsupported({ ...place, actual: firstInode, expected: `at most ${mostReserved}` });
  }
  const own = new Set([...Array.from({ length: firstInode - 1 }, (_, i) => i + 1), ...ownInodes]);
  own.delete(rootInode);
  return own;
}

async function rangesOf(volume: ExtVolume, number: number, options: RequestOptions): Promise<Range[]> {
  const inode = await readOwnInode(volume, number, options);
  const ranges: Range[] = [];
  if (inode === undefined) return ranges;
  for await (const { block, count } of blockRuns(volume, inode, options)) {
    ranges.push({ offset: volume.offsetOf(block), length: volume.offsetOf(count) });
  }
  return ranges;
}
