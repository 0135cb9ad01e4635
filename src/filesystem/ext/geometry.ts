import { compat, extSuperblock, incompat, roCompat, superblockOffset } from './on-disk.js';
import type { Superblock } from './superblock.js';

/**
 * Where the superblock copies and the group descriptors lie: in the first blocks of some groups, by rules that the
 * features choose. Documentation/filesystems/ext4: Layout, Meta Block Groups, sparse_super.
 */

/** A run of blocks, half-open. */
export interface BlockRun {
  readonly start: number;
  readonly end: number;
}

export function groupStart({ firstDataBlock, blocksPerGroup }: Superblock, group: number): number {
  return firstDataBlock + group * blocksPerGroup;
}

/** Blocks of a group: the last one may be short. */
export function groupLength(superblock: Superblock, group: number): number {
  return Math.min(superblock.blocksPerGroup, superblock.blockCount - groupStart(superblock, group));
}

/** Clusters of a group, the last of which may be cut short by the end of the filesystem. */
export function clusterCount(superblock: Superblock, group: number): number {
  return Math.ceil(groupLength(superblock, group) / superblock.blocksPerCluster);
}

/** Whether a group begins with a copy of the superblock. */
export function hasSuperblock(
  { compat: compatible, roCompat: readOnly, backupGroups }: Superblock,
  group: number,
): boolean {
  if (group === 0) return true;
  if (compat.has(compatible, 'sparse_super2')) return backupGroups.includes(group);
  if (group === 1 || !roCompat.has(readOnly, 'sparse_super')) return true;
  return [3, 5, 7].some((base) => isPowerOf(base, group));
}

function isPowerOf(base: number, value: number): boolean {
  let power = base;
  while (power < value) power *= base;
  return power === value;
}

/** Group descriptors in one block. */
export function descriptorsPerBlock({ blockSize, descriptorSize }: Superblock): number {
  return blockSize / descriptorSize;
}

export function descriptorBlockCount(superblock: Superblock): number {
  return Math.ceil(superblock.groupCount / descriptorsPerBlock(superblock));
}

/** The block of the primary descriptors numbered `index` by blocks. */
export function descriptorBlock(superblock: Superblock, index: number): number {
  const { incompat: incompatible, firstMetaBlockGroup } = superblock;
  if (!incompat.has(incompatible, 'meta_bg') || index < firstMetaBlockGroup)
    return superblockBlock(superblock) + 1 + index;
  const group = index * descriptorsPerBlock(superblock);
  return groupStart(superblock, group) + headLength(superblock, group);
}

/** The block that the primary superblock lies in. */
function superblockBlock({ blockSize }: Superblock): number {
  return Math.floor(Number(superblockOffset) / blockSize);
}

/** Blocks at the start of a group before its descriptors: a superblock copy, and in group 0 what lies before it. */
function headLength(superblock: Superblock, group: number): number {
  if (group === 0) return superblockBlock(superblock) - superblock.firstDataBlock + 1;
  return hasSuperblock(superblock, group) ? 1 : 0;
}

/** The blocks at the start of a group that hold its superblock copy, descriptors and room for more descriptors. */
export function groupHead(superblock: Superblock, group: number): BlockRun {
  const start = groupStart(superblock, group);
  const head = headLength(superblock, group);
  const length = head + descriptorLength(superblock, group, head > 0);
  return { start, end: Math.min(start + length, superblock.blockCount) };
}

function descriptorLength(superblock: Superblock, group: number, withSuperblock: boolean): number {
  const { incompat: incompatible, firstMetaBlockGroup, reservedDescriptorBlocks } = superblock;
  const perBlock = descriptorsPerBlock(superblock);
  const metaGroup = Math.floor(group / perBlock);
  if (incompat.has(incompatible, 'meta_bg') && metaGroup >= firstMetaBlockGroup) {
    // The first, second and last group of each meta block group hold its one block of descriptors.
    const place = group % perBlock;
    return place === 0 || place === 1 || place === perBlock - 1 ? 1 : 0;
  }
  return withSuperblock ? firstMetaBlockGroup + reservedDescriptorBlocks : 0;
}

/** Blocks of a group's inode table. */
export function inodeTableLength({ inodesPerGroup, inodeSize, blockSize }: Superblock): number {
  return Math.ceil((inodesPerGroup * inodeSize) / blockSize);
}

/** The blocks from the start of the device to the end of the primary superblock. */
export function bootBlocks({ blockSize }: Superblock): BlockRun {
  return { start: 0, end: Math.ceil((Number(superblockOffset) + extSuperblock.size) / blockSize) };
}
