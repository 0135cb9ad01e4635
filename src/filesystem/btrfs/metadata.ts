import { type Range, RangeSet } from '../../binary/range-set.js';
import type { RequestOptions } from '../../device/block-device.js';
import type { MetadataExtent } from '../filesystem.js';
import { allExtents } from './extent-tree.js';
import { reservedRoom } from './free-space.js';
import type { BtrfsVolume } from './volume.js';

/**
 * What belongs to no file: the start of the device and the room of each superblock, and every block of a tree, each copy
 * of it. The parts do not overlap.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* metadataOf(
  volume: BtrfsVolume,
  options: RequestOptions,
): AsyncGenerator<MetadataExtent, void, undefined> {
  const reserved = reservedRoom().clip(0n, volume.superblock.device.totalBytes);
  // In filesystems of old, a chunk may begin at the start of the device.
  const owned: Range[] = [];
  for await (const { logical, length, tree, chunk } of allExtents(volume, options)) {
    for (const copy of chunk.copies) {
      const range = { offset: copy + logical - chunk.logical, length };
      if (reserved.within(range.offset, length).next().done !== true) owned.push(range);
      if (tree) yield { kind: 'tree', ...range };
    }
  }
  for (const { offset, length } of reserved.subtract(RangeSet.of(owned))) yield { kind: 'superblock', offset, length };
}
