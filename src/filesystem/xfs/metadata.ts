import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { MetadataExtent } from '../filesystem.js';
import { fileMapOf } from './file-map.js';
import { type Group, readGroup } from './group.js';
import { readInode } from './inode.js';
import {
  incompat,
  inodeChunk,
  inodeChunkSize,
  inodesPerHole,
  reverseMapping,
  sharedExtent,
  stagingFlag,
} from './on-disk.js';
import { type GroupTree, type TreeBlock, treeBlocks } from './tree.js';
import type { XfsVolume } from './volume.js';

/**
 * What belongs to no file: the metadata of every group, and the inodes that are the filesystem's own, of quota and of the
 * realtime device that it has not. The parts do not overlap.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* metadataOf(
  volume: XfsVolume,
  options: RequestOptions,
): AsyncGenerator<MetadataExtent, void, undefined> {
  const { groupCount, quotaInodes, realtimeInodes } = volume.superblock;
  for (let number = 0; number < groupCount; number++) {
    yield* fixedMetadata(volume, await readGroup(volume, number, options), options);
  }
  const place = volume.place('superblock', 0n);
  for (const number of new Set([...quotaInodes, ...realtimeInodes])) {
    const inode = await readInode(volume, number, place, options);
    for await (const { offset, length, inline } of fileMapOf(volume, inode, options)) {
      if (!inline) yield { kind: 'own', offset, length };
    }
  }
}

/**
 * What of a group belongs to no inode: its headers, its trees with the blocks that are kept for them, its inodes, and the
 * log where it lies there. In no order; the parts may touch, and do not overlap.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
async function* fixedMetadata(
  volume: XfsVolume,
  group: Group,
  options: RequestOptions,
): AsyncGenerator<MetadataExtent, void, undefined> {
  for await (const extent of usedExtents(volume, group, options)) if (extent.kind !== inUse) yield extent;
}

/** The kind of extents that a tree says are in use, whoever has them. */
const inUse = 'in use';

/**
 * All of a group that its own structures say is in use: its metadata, and what its reverse map and its reference counts
 * name, which overlap that and each other.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* usedExtents(
  volume: XfsVolume,
  group: Group,
  options: RequestOptions,
): AsyncGenerator<MetadataExtent, void, undefined> {
  const { number, freeList, trees } = group;
  const run = (kind: string, block: number, count: number): MetadataExtent => ({
    kind,
    ...volume.rangeOf(volume.blockOf(number, block), count),
  });
  yield run('superblock', 0, volume.headerLength);
  const { log } = volume;
  const start = volume.offsetOf(volume.blockOf(number, 0));
  if (log.offset >= start && log.offset < start + volume.offsetOf(group.length)) yield { kind: 'journal', ...log };
  for (const block of freeList) yield run('tree', block, 1);
  for (const name of Object.keys(trees)) {
    if (!isTree(name)) continue;
    const root = trees[name];
    if (root === undefined) continue;
    for await (const node of treeBlocks(volume, group, name, root, options)) {
      yield run('tree', node.block, 1);
      if (node.level > 0) continue;
      if (name === 'ino') yield* inodesOf(volume, group, node);
      if (name === 'refcount') yield* sharedOf(volume, group, node);
      if (name === 'rmap') yield* mappedOf(volume, group, node);
    }
  }
}

function isTree(name: string): name is GroupTree {
  return ['bno', 'cnt', 'ino', 'fino', 'rmap', 'refcount'].includes(name);
}

/** Where the chunks of inodes lie that a leaf of their tree tells of. */
function* inodesOf(volume: XfsVolume, group: Group, leaf: TreeBlock): Generator<MetadataExtent> {
  const { inodeSize, incompat: features } = volume.superblock;
  const start = volume.offsetOf(volume.blockOf(group.number, 0));
  const limit = Number(volume.offsetOf(group.length)) / inodeSize;
  const sparse = incompat.has(features, 'SPINODES');
  for (let i = 0; i < leaf.count; i++) {
    const { ir_startino: first, ir_holemask: mask } = inodeChunk.at(leaf.view, leaf.start + i * inodeChunk.size);
    const holes = sparse ? mask : 0;
    for (let at = 0; at < inodeChunkSize; ) {
      const hole = isHole(holes, at);
      let end = at;
      while (end < inodeChunkSize && isHole(holes, end) === hole) end += inodesPerHole;
      if (!hole) {
        if (first + end > limit) {
          const expected = `below ${limit}`;
          throw DiskError.corrupt({ ...leaf.place, field: 'ir_startino', actual: first + end - 1, expected });
        }
        const offset = start + BigInt((first + at) * inodeSize);
        yield { kind: 'inodes', offset, length: BigInt((end - at) * inodeSize) };
      }
      at = end;
    }
  }
}

/** Blocks that files share, and those that were set aside for copies of shared ones, and not used: nobody has them yet. */
function* sharedOf(volume: XfsVolume, group: Group, leaf: TreeBlock): Generator<MetadataExtent> {
  for (let i = 0; i < leaf.count; i++) {
    const { rc_startblock: named, rc_blockcount: count } = sharedExtent.at(
      leaf.view,
      leaf.start + i * sharedExtent.size,
    );
    const staged = named >= stagingFlag;
    const block = staged ? named - stagingFlag : named;
    yield extentOf(volume, group, leaf, { kind: staged ? 'staging' : inUse, field: 'rc_blockcount', block, count });
  }
}

function* mappedOf(volume: XfsVolume, group: Group, leaf: TreeBlock): Generator<MetadataExtent> {
  for (let i = 0; i < leaf.count; i++) {
    const at = leaf.start + i * reverseMapping.size;
    const { rm_startblock: block, rm_blockcount: count } = reverseMapping.at(leaf.view, at);
    yield extentOf(volume, group, leaf, { kind: inUse, field: 'rm_blockcount', block, count });
  }
}

/** What a record says of blocks of its group. */
function extentOf(
  volume: XfsVolume,
  group: Group,
  { place }: TreeBlock,
  { kind, field, block, count }: { kind: string; field: string; block: number; count: number },
): MetadataExtent {
  if (count === 0 || block + count > group.length) {
    const expected = `1 to ${group.length - block}`;
    throw DiskError.corrupt({ ...place, field, actual: count, expected });
  }
  return { kind, ...volume.rangeOf(volume.blockOf(group.number, block), count) };
}

function isHole(mask: number, inode: number): boolean {
  return ((mask >>> (inode / inodesPerHole)) & 1) === 1;
}
