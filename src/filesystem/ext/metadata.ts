import { type Range, RangeSet } from '../../binary/range-set.js';
import type { RequestOptions } from '../../device/block-device.js';
import type { MetadataExtent } from '../filesystem.js';
import { blockRuns } from './block-runs.js';
import { rootInode } from './file-on-disk.js';
import { fixedMetadata } from './fixed-metadata.js';
import { type BlockRun, bootBlocks, groupHead, inodeTableLength } from './geometry.js';
import { readOwnInode } from './inode.js';
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
  const { mmpBlock, firstInode, ownInodes, journalInode } = superblock;
  const toRange = ({ start, end }: BlockRun): Range => ({
    offset: volume.offsetOf(start),
    length: volume.offsetOf(end - start),
  });
  const one = (block: number): Range => toRange({ start: block, end: block + 1 });
  const heads = [bootBlocks(superblock), ...groups.map(({ number }) => groupHead(superblock, number))];
  yield { kind: 'superblock', ranges: heads.map(toRange) };
  yield { kind: 'bitmap', ranges: groups.flatMap((group) => [one(group.blockBitmap), one(group.inodeBitmap)]) };
  const length = inodeTableLength(superblock);
  yield { kind: 'inodes', ranges: groups.map(({ inodeTable: start }) => toRange({ start, end: start + length })) };
  if (mmpBlock !== 0) yield { kind: 'mmp', ranges: [one(mmpBlock)] };
  const reserved = Array.from({ length: firstInode - 1 }, (_, i) => i + 1);
  for (const number of new Set([...reserved, ...ownInodes])) {
    if (number === rootInode) continue;
    yield { kind: number === journalInode ? 'journal' : 'own', ranges: await rangesOf(volume, number, options) };
  }
  // With bigalloc, what is left of the clusters that these lie in.
  yield { kind: 'slack', ranges: fixedMetadata(device, superblock, groups) };
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
