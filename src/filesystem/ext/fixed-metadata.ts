import { type RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import { type BlockRun, bootBlocks, groupHead, inodeTableLength } from './geometry.js';
import type { Group } from './group.js';
import { incompat } from './on-disk.js';
import type { Superblock } from './superblock.js';

/**
 * What is in use whatever a bitmap says: superblock copies, descriptors and the room kept for more of them, bitmaps,
 * inode tables, the block of multiple mount protection. A bitmap that calls a backup superblock free goes unnoticed until
 * the backup is needed.
 *
 * @returns bytes from the start of the filesystem, in whole clusters
 */
export function fixedMetadata(superblock: Superblock, groups: readonly Group[]): RangeSet {
  const tableLength = inodeTableLength(superblock);
  const one = (block: number): BlockRun => ({ start: block, end: block + 1 });
  const boot = [bootBlocks(superblock)];
  if (incompat.has(superblock.incompat, 'mmp')) boot.push(one(superblock.mmpBlock));
  // A set for each kind, since each kind comes in ascending order.
  return [
    boot,
    groups.map(({ number }) => groupHead(superblock, number)),
    groups.map(({ blockBitmap }) => one(blockBitmap)),
    groups.map(({ inodeBitmap }) => one(inodeBitmap)),
    groups.map(({ inodeTable }) => ({ start: inodeTable, end: inodeTable + tableLength })),
  ]
    .map((runs) => inClusters(superblock, runs))
    .reduce((all, set) => all.union(set));
}

/** Whole clusters around runs of blocks, as bytes. */
function inClusters({ blockSize, blocksPerCluster, firstDataBlock }: Superblock, runs: readonly BlockRun[]): RangeSet {
  const builder = new RangeSetBuilder();
  for (const { start, end } of runs) {
    if (start >= end) continue;
    const first = Math.min(start, firstDataBlock + roundDown(start - firstDataBlock, blocksPerCluster));
    const last = firstDataBlock + roundDown(end - firstDataBlock + blocksPerCluster - 1, blocksPerCluster);
    builder.add(BigInt(first) * BigInt(blockSize), BigInt(last - first) * BigInt(blockSize));
  }
  return builder.finish();
}

function roundDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}
