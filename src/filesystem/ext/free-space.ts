import { eachClearRun } from '../../binary/bitmap.js';
import { min, roundUp, toNumber } from '../../binary/convert.js';
import { rawCrc32c } from '../../binary/crc.js';
import { bytesOf } from '../../binary/layout.js';
import { type RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import { fixedMetadata } from './fixed-metadata.js';
import { clusterCount, groupStart } from './geometry.js';
import { type Group, readGroups } from './group.js';
import { roCompat } from './on-disk.js';
import type { Superblock } from './superblock.js';

/** Bitmaps that are read in one request: with flex_bg, those of neighbouring groups lie side by side. */
const bitmapsARead = 64;

export interface ReadFreeSpaceOptions extends RequestOptions {
  /**
   * Whether bitmaps must have the checksums and counts that the descriptors say. Default true; without, only what a
   * reader that asks has found free may be believed.
   */
  readonly verify?: boolean | undefined;
  /** The descriptors, where they have been read already. */
  readonly groups?: readonly Group[] | undefined;
}

/**
 * The free bytes of a filesystem, in ascending order: what the bitmaps of initialised groups call free, and all of the
 * others, less the fixed metadata of every group. Each group's own count of free clusters must agree.
 *
 * @throws {DiskError} CORRUPT when a checksum or a count is wrong: then nothing that the bitmaps say can be believed
 */
export async function readFreeSpace(
  device: BlockDevice,
  superblock: Superblock,
  { verify = true, groups: known, ...options }: ReadFreeSpaceOptions,
): Promise<RangeSet> {
  const size = BigInt(superblock.blockCount) * BigInt(superblock.blockSize);
  if (size > device.facts.size) {
    throw DiskError.corrupt({
      structure: 'ext4 superblock',
      device: device.name,
      field: 's_blocks_count',
      actual: superblock.blockCount,
      expected: `at most ${device.facts.size / BigInt(superblock.blockSize)}`,
    });
  }
  const groups = known ?? (await readGroups(device, superblock, options));
  const fixed = fixedMetadata(device, superblock, groups);
  const free = new RangeSetBuilder();
  const untouched = new Uint8Array(superblock.blockSize);
  for await (const { group, bitmap } of bitmaps(device, superblock, groups, options)) {
    if (verify && bitmap !== undefined) checkBitmap(device, superblock, group, bitmap);
    const count = addClear(superblock, group.number, bitmap ?? untouched, free);
    if (verify && bitmap !== undefined) checkCount(device, group, count);
  }
  const found = free.finish().subtract(fixed).clip(0n, size);
  if (!verify) return found;
  // Of a bitmap that was never written, all but the metadata is free.
  const counts = countByGroup(superblock, found);
  for (const group of groups) if (group.bitmapUninitialised) checkCount(device, group, counts[group.number]);
  return found;
}

/** Bitmaps that were read together: blocks `start` to `end`, half-open. */
interface Chunk {
  readonly start: number;
  readonly end: number;
  readonly memory: Uint8Array;
}

/** Each group with its bitmap; without one where it was never written. */
async function* bitmaps(
  device: BlockDevice,
  superblock: Superblock,
  groups: readonly Group[],
  options: RequestOptions,
): AsyncGenerator<{ group: Group; bitmap: Uint8Array | undefined }, void, undefined> {
  const { blockSize } = superblock;
  let chunk: Chunk = { start: 0, end: 0, memory: new Uint8Array(0) };
  for (const [index, group] of groups.entries()) {
    if (group.bitmapUninitialised) {
      yield { group, bitmap: undefined };
      continue;
    }
    const block = group.blockBitmap;
    if (block < chunk.start || block >= chunk.end) {
      let count = 1;
      while (count < bitmapsARead && groups[index + count]?.blockBitmap === block + count) count++;
      const memory = bytesOf(await readView(device, BigInt(block) * BigInt(blockSize), count * blockSize, options));
      chunk = { start: block, end: block + count, memory };
    }
    const at = (block - chunk.start) * blockSize;
    yield { group, bitmap: chunk.memory.subarray(at, at + blockSize) };
  }
}

function checkBitmap(device: BlockDevice, superblock: Superblock, group: Group, bitmap: Uint8Array): void {
  if (!roCompat.has(superblock.roCompat, 'metadata_csum')) return;
  const covered = bitmap.subarray(0, superblock.blocksPerGroup / superblock.blocksPerCluster / 8);
  const expected = (rawCrc32c(superblock.checksumSeed, covered) & group.bitmapChecksumMask) >>> 0;
  if (group.bitmapChecksum !== expected) {
    throw DiskError.corrupt({
      structure: `ext4 block bitmap of group ${group.number}`,
      device: device.name,
      offset: BigInt(group.blockBitmap) * BigInt(superblock.blockSize),
      field: 'bg_block_bitmap_csum',
      actual: hex(group.bitmapChecksum),
      expected: hex(expected),
    });
  }
}

/** @returns clusters */
function addClear(superblock: Superblock, group: number, bitmap: Uint8Array, free: RangeSetBuilder): number {
  const start = BigInt(groupStart(superblock, group)) * BigInt(superblock.blockSize);
  const cluster = clusterSize(superblock);
  let count = 0;
  eachClearRun(bitmap, clusterCount(superblock, group), (first, end) => {
    free.add(start + BigInt(first) * cluster, BigInt(end - first) * cluster);
    count += end - first;
  });
  return count;
}

/** Bytes. */
function clusterSize({ blockSize, blocksPerCluster }: Superblock): bigint {
  return BigInt(blocksPerCluster) * BigInt(blockSize);
}

/** Clusters of each group that `free` holds; the last, which the end of the filesystem may cut short, counts as one. */
function countByGroup(superblock: Superblock, free: RangeSet): Float64Array {
  const cluster = clusterSize(superblock);
  const first = BigInt(superblock.firstDataBlock) * BigInt(superblock.blockSize);
  const groupSize = BigInt(superblock.blocksPerGroup) * BigInt(superblock.blockSize);
  const counts = new Float64Array(superblock.groupCount);
  for (const { offset, length } of free) {
    for (let at = offset; at < offset + length; ) {
      const group = (at - first) / groupSize;
      const end = min(offset + length, first + (group + 1n) * groupSize);
      const index = toNumber(group);
      counts[index] = (counts[index] ?? 0) + toNumber(roundUp(end - at, cluster) / cluster);
      at = end;
    }
  }
  return counts;
}

function checkCount(device: BlockDevice, { number, freeClusterCount }: Group, counted: number | undefined): void {
  if (counted === freeClusterCount) return;
  throw DiskError.corrupt({
    structure: `ext4 group descriptor ${number}`,
    device: device.name,
    field: 'bg_free_blocks_count',
    actual: freeClusterCount,
    expected: `${counted}, as in its bitmap`,
  });
}
