import { max, min, roundDown, roundUp } from '../../binary/convert.js';
import { type RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { type BlockRun, bootBlocks, groupHead, inodeTableLength } from './geometry.js';
import type { Group } from './group.js';
import type { Superblock } from './superblock.js';

/**
 * What is in use whatever a bitmap says: superblock copies, descriptors and the room kept for more of them, bitmaps,
 * inode tables, the block of multiple mount protection. A bitmap that calls a backup superblock free goes unnoticed until
 * the backup is needed.
 *
 * @returns bytes from the start of the filesystem, in whole clusters
 * @throws {DiskError} CORRUPT when two of them overlap: then one of the places is wrong, and nobody knows which
 */
export function fixedMetadata(device: BlockDevice, superblock: Superblock, groups: readonly Group[]): RangeSet {
  const { mmpBlock } = superblock;
  const tableLength = inodeTableLength(superblock);
  const one = (block: number): BlockRun => ({ start: block, end: block + 1 });
  // A list for each kind, since each kind comes in ascending order.
  const kinds = [
    groups.map(({ number }) => groupHead(superblock, number)),
    groups.map(({ blockBitmap }) => one(blockBitmap)),
    groups.map(({ inodeBitmap }) => one(inodeBitmap)),
    groups.map(({ inodeTable }) => ({ start: inodeTable, end: inodeTable + tableLength })),
    mmpBlock === 0 ? [] : [one(mmpBlock)],
  ];
  const all = kinds.map((runs) => toBytes(superblock, runs)).reduce((some, set) => some.union(set));
  const blocks = kinds.flat().reduce((sum, { start, end }) => sum + end - start, 0);
  const apart = BigInt(blocks) * BigInt(superblock.blockSize);
  if (all.total !== apart) {
    throw DiskError.corrupt({
      structure: 'ext4 group descriptors',
      device: device.name,
      field: 'bytes of metadata',
      actual: all.total,
      expected: `${apart}, with none overlapping another`,
    });
  }
  return inClusters(superblock, all.union(toBytes(superblock, [bootBlocks(superblock)])));
}

function toBytes({ blockSize }: Superblock, runs: readonly BlockRun[]): RangeSet {
  const builder = new RangeSetBuilder();
  for (const { start, end } of runs) {
    builder.add(BigInt(start) * BigInt(blockSize), BigInt(end - start) * BigInt(blockSize));
  }
  return builder.finish();
}

/** Whole clusters around ranges: clusters are counted from the first block of group 0, and what lies before it stays. */
function inClusters({ blockSize, blocksPerCluster, firstDataBlock }: Superblock, ranges: RangeSet): RangeSet {
  const origin = BigInt(firstDataBlock) * BigInt(blockSize);
  const cluster = BigInt(blocksPerCluster) * BigInt(blockSize);
  const builder = new RangeSetBuilder();
  for (const { offset, length } of ranges) {
    const start = min(offset, origin + roundDown(max(offset - origin, 0n), cluster));
    const end = origin + roundUp(max(offset + length - origin, 0n), cluster);
    builder.add(start, end - start);
  }
  return builder.finish();
}
