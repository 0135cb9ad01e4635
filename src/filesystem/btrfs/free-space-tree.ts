import { type RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { TreeNode } from './node.js';
import { compatRo, freeSpaceInfo, keyTypes, treeIds } from './on-disk.js';
import { ownRoot } from './roots.js';
import { treeNodes } from './tree.js';
import type { BtrfsVolume } from './volume.js';

/**
 * Compares the free space tree, where there is one that counts, with the extents: between them they must hold all that
 * the chunks have, and nothing twice.
 *
 * @param extents logical addresses
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function checkFreeSpaceTree(
  volume: BtrfsVolume,
  extents: RangeSet,
  options: RequestOptions,
): Promise<void> {
  if (!compatRo.has(volume.superblock.compatRo, 'FREE_SPACE_TREE_VALID')) return;
  const root = await ownRoot(volume, treeIds.freeSpace, options);
  const builder = new RangeSetBuilder();
  for await (const node of treeNodes(volume, root, options)) {
    if (!extents.has(node.block)) {
      throw DiskError.corrupt({ ...node.place, field: 'its extent', actual: 'not there', expected: 'there' });
    }
    if (node.level === 0) addFree(volume, node, builder);
  }
  const told = builder.finish();
  const place = volume.place('free space tree', 0n);
  for (const { logical, length } of await volume.chunks(options)) {
    const expected = extents.complement(logical, length);
    const found = told.clip(logical, length);
    const [differs] = [...expected.subtract(found), ...found.subtract(expected)];
    if (differs === undefined) continue;
    const field = `${differs.length} bytes from ${differs.offset}`;
    const [actual, wanted] = found.has(differs.offset) ? ['free', 'in use'] : ['in use', 'free'];
    throw DiskError.corrupt({ ...place, field, actual, expected: `${wanted}, as in the extent tree` });
  }
}

function addFree(volume: BtrfsVolume, node: TreeNode, free: RangeSetBuilder): void {
  const { sectorSize } = volume.superblock;
  for (let i = 0; i < node.count; i++) {
    const { objectid: start, type, offset: length } = node.key(i);
    const data = node.data(i);
    const wrong = (field: string, actual: bigint | number, expected: string) =>
      DiskError.corrupt({ ...node.place, field: `${field} of free space ${start}`, actual, expected });
    if (start + length >= 2n ** 63n) throw wrong('length', length, 'an end below 2^63');
    if (type === keyTypes.FREE_SPACE_EXTENT) free.add(start, length);
    else if (type === keyTypes.FREE_SPACE_BITMAP) {
      const bits = length / BigInt(sectorSize);
      const size = (bits + 7n) / 8n;
      if (BigInt(data.length) !== size) throw wrong('size of the bitmap', data.length, `${size}`);
      addBits(data, Number(bits), (first, count) => {
        free.add(start + BigInt(first) * BigInt(sectorSize), BigInt(count) * BigInt(sectorSize));
      });
    } else if (type === keyTypes.FREE_SPACE_INFO && data.length !== freeSpaceInfo.size) {
      throw wrong('size', data.length, `${freeSpaceInfo.size}`);
    }
  }
}

/** The runs of bits that are set, low bits first. */
function addBits(bitmap: Uint8Array, count: number, add: (first: number, count: number) => void): void {
  let first = 0;
  let inside = false;
  for (let bit = 0; bit <= count; bit++) {
    const set = bit < count && (((bitmap[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 1;
    if (set === inside) continue;
    if (inside) add(first, bit - first);
    first = bit;
    inside = set;
  }
}
