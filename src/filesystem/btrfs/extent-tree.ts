import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import type { Chunk } from './chunk-map.js';
import type { TreeNode } from './node.js';
import { blockGroupItem, extentItem, keyTypes, treeIds } from './on-disk.js';
import { ownRoot } from './roots.js';
import { treeNodes } from './tree.js';
import type { BtrfsVolume } from './volume.js';

/** A run of logical addresses that somebody has, within one chunk. In bytes. */
export interface Extent {
  readonly logical: bigint;
  readonly length: bigint;
  /** Whether it is a block of a tree; else data of files. */
  readonly tree: boolean;
  readonly chunk: Chunk;
}

/** Bits of the flags of an extent. */
const dataFlag = 1n;
const treeFlag = 2n;

export interface ExtentOptions extends RequestOptions {
  /** Is shown every block of the extent tree itself. */
  readonly onNode?: ((node: TreeNode) => void) | undefined;
}

/**
 * Every extent, ascending: none overlap. Once they have all come, what each block group and the superblock count as used
 * has been compared with them.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* allExtents(
  volume: BtrfsVolume,
  { onNode, ...options }: ExtentOptions,
): AsyncGenerator<Extent, void, undefined> {
  const { nodeSize, sectorSize, usedBytes } = volume.superblock;
  const chunks = await volume.chunks(options);
  const used = new Map<Chunk, bigint>();
  const groups = new Map<Chunk, { readonly used: bigint; readonly place: Place }>();
  const root = await ownRoot(volume, treeIds.extent, options);
  let end = 0n;
  for await (const node of treeNodes(volume, root, options)) {
    onNode?.(node);
    for (let i = node.level === 0 ? 0 : node.count; i < node.count; i++) {
      const { objectid: logical, type, offset } = node.key(i);
      const { place } = node;
      const wrong = (field: string, actual: string | number | bigint, expected: string) =>
        DiskError.corrupt({ ...place, field: `${field} ${logical}`, actual, expected });
      if (type === keyTypes.BLOCK_GROUP_ITEM) {
        const { chunk, ...group } = blockGroup(node, i, chunks.find(logical, offset));
        groups.set(chunk, group);
        continue;
      }
      if (type !== keyTypes.EXTENT_ITEM && type !== keyTypes.METADATA_ITEM) continue;
      const length = type === keyTypes.METADATA_ITEM ? BigInt(nodeSize) : offset;
      const chunk = chunks.find(logical, length);
      if (chunk === undefined) throw wrong('extent', `of ${length} bytes`, 'within a chunk');
      if (logical < end) throw wrong('extent', 'within the one before it', `behind ${end}`);
      if (length === 0n || length % BigInt(sectorSize) !== 0n || logical % BigInt(sectorSize) !== 0n) {
        throw wrong('extent', `of ${length} bytes`, `a multiple of ${sectorSize}`);
      }
      const data = node.data(i);
      if (data.length < extentItem.size) throw wrong('size of extent', data.length, `at least ${extentItem.size}`);
      const { flags, refs } = extentItem.at(viewOf(data));
      const kind = flags & (dataFlag | treeFlag);
      const tree = kind === treeFlag;
      if (kind === 0n || kind === (dataFlag | treeFlag) || (type === keyTypes.METADATA_ITEM && !tree)) {
        throw wrong('flags of extent', flags, 'data or a block of a tree');
      }
      if (refs === 0n) throw wrong('references to extent', 0, 'at least 1');
      end = logical + length;
      used.set(chunk, (used.get(chunk) ?? 0n) + length);
      yield { logical, length, tree, chunk };
    }
  }
  let total = 0n;
  for (const chunk of chunks) {
    const group = groups.get(chunk);
    const own = used.get(chunk) ?? 0n;
    total += own;
    if (group === undefined) {
      const place = volume.place('extent tree', 0n);
      throw DiskError.corrupt({ ...place, field: `block group ${chunk.logical}`, actual: 'not there' });
    }
    if (group.used === own) continue;
    const place = { ...group.place, field: `used of block group ${chunk.logical}` };
    throw DiskError.corrupt({ ...place, actual: group.used, expected: `${own}, as its extents` });
  }
  if (total === usedBytes) return;
  const place = volume.place('superblock', volume.superblock.offset);
  throw DiskError.corrupt({ ...place, field: 'bytes_used', actual: usedBytes, expected: `${total}, as all extents` });
}

/** A block group, which is what its chunk is. @throws {DiskError} CORRUPT */
function blockGroup(node: TreeNode, i: number, chunk: Chunk | undefined) {
  const { objectid: logical, offset: length } = node.key(i);
  const place = { ...node.place, offset: node.place.offset + BigInt(node.dataStart(i)) };
  const data = node.data(i);
  const wrong = (field: string, actual: string | number | bigint, expected: string) =>
    DiskError.corrupt({ ...place, field: `${field} of block group ${logical}`, actual, expected });
  if (data.length !== blockGroupItem.size) throw wrong('size', data.length, `${blockGroupItem.size}`);
  if (chunk === undefined || chunk.logical !== logical || chunk.length !== length) {
    throw wrong('length', length, 'that of a chunk');
  }
  const { used, flags } = blockGroupItem.at(viewOf(data));
  if (flags !== BigInt(chunk.type)) throw wrong('flags', flags, `${chunk.type}, as of its chunk`);
  return { chunk, used, place };
}
