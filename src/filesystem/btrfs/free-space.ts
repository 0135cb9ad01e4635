import { max, roundDown } from '../../binary/convert.js';
import { RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { checkDeviceExtents } from './device-extents.js';
import { allExtents } from './extent-tree.js';
import { checkFreeSpaceTree } from './free-space-tree.js';
import type { TreeNode } from './node.js';
import { keyTypes, reservedStart, superblockOffsets, superblockRoom } from './on-disk.js';
import { readRoot } from './roots.js';
import { treeNodes } from './tree.js';
import type { BtrfsVolume } from './volume.js';

/**
 * The free bytes of the device: what no chunk has, and what no extent has of each copy of each chunk; never the first
 * MiB nor the room of a superblock, which no extent has either.
 *
 * @throws {DiskError} CORRUPT when anything contradicts: chunks and device extents, extents and what is counted of them,
 * the free space tree where there is one, or a block of a tree where nothing should be; IO, CANCELLED
 */
export async function readFreeSpace(volume: BtrfsVolume, options: RequestOptions): Promise<RangeSet> {
  const { superblock } = volume;
  const blocks = new Set<bigint>();
  const onNode = ({ block }: TreeNode) => void blocks.add(block);
  const chunks = await volume.chunks(options);
  await checkDeviceExtents(volume, onNode, options);
  const builder = new RangeSetBuilder();
  for await (const { logical, length } of allExtents(volume, { ...options, onNode })) builder.add(logical, length);
  const extents = builder.finish();
  for await (const node of treeNodes(volume, superblock.chunkTree, options)) onNode(node);
  for await (const node of treeNodes(volume, superblock.rootTree, options)) {
    onNode(node);
    for (const block of rootsIn(node)) blocks.add(block);
  }
  for (const block of blocks) {
    if (extents.has(block)) continue;
    const place = volume.place('extent tree', 0n);
    throw DiskError.corrupt({ ...place, field: `tree block ${block}`, actual: 'free', expected: 'an extent' });
  }
  await checkFreeSpaceTree(volume, extents, options);

  const free = new RangeSetBuilder();
  const size = roundDown(superblock.device.totalBytes, BigInt(superblock.sectorSize));
  let end = 0n;
  for (const { offset, chunk } of chunks.onDevice()) {
    free.add(end, max(0n, offset - end));
    for (const gap of extents.complement(chunk.logical, chunk.length)) {
      free.add(offset + gap.offset - chunk.logical, gap.length);
    }
    end = offset + chunk.length;
  }
  free.add(end, max(0n, size - end));
  return free.finish().subtract(reservedRoom());
}

/** What of a device no chunk uses, from its start: where it ends does not matter. */
export function reservedRoom(): RangeSet {
  return RangeSet.of([
    { offset: 0n, length: reservedStart },
    ...superblockOffsets.map((offset) => ({ offset, length: superblockRoom })),
  ]);
}

/** Where the trees begin that a block of the tree of roots tells of, but for those that are being deleted. */
function* rootsIn(node: TreeNode): Generator<bigint> {
  for (let i = node.level === 0 ? 0 : node.count; i < node.count; i++) {
    const key = node.key(i);
    if (key.type !== keyTypes.ROOT_ITEM) continue;
    const { root, references } = readRoot({ key, data: node.data(i), place: node.place });
    if (references > 0) yield root.block;
  }
}
