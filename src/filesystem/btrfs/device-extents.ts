import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { TreeNode } from './node.js';
import { deviceExtent, deviceReplaceItem, keyTypes, replacing, treeIds } from './on-disk.js';
import { ownRoot } from './roots.js';
import { findItem, treeNodes } from './tree.js';
import type { BtrfsVolume } from './volume.js';

/**
 * Compares what the device tree says of who has which part of the device with the chunks: the two must be the same.
 *
 * @param onNode is shown every block of the device tree
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function checkDeviceExtents(
  volume: BtrfsVolume,
  onNode: (node: TreeNode) => void,
  options: RequestOptions,
): Promise<void> {
  const { device } = volume.superblock;
  const copies = (await volume.chunks(options)).onDevice();
  const root = await ownRoot(volume, treeIds.device, options);
  let next = 0;
  let total = 0n;
  for await (const node of treeNodes(volume, root, options)) {
    onNode(node);
    for (let i = node.level === 0 ? 0 : node.count; i < node.count; i++) {
      const { objectid, type, offset } = node.key(i);
      if (type !== keyTypes.DEV_EXTENT) continue;
      const wrong = (field: string, actual: string | number | bigint, expected: string) =>
        DiskError.corrupt({ ...node.place, field: `${field} of device extent ${offset}`, actual, expected });
      const data = node.data(i);
      if (objectid !== device.id) throw wrong('device', objectid, `${device.id}`);
      if (data.length !== deviceExtent.size) throw wrong('size', data.length, `${deviceExtent.size}`);
      const { chunk_offset, length } = deviceExtent.at(viewOf(data));
      const copy = copies[next++];
      if (copy?.offset !== offset || copy.chunk.logical !== chunk_offset || copy.chunk.length !== length) {
        const expected = copy === undefined ? 'no more' : `chunk ${copy.chunk.logical} at ${copy.offset}`;
        throw wrong('chunk', `${length} bytes of chunk ${chunk_offset}`, expected);
      }
      total += length;
    }
  }
  const place = volume.place('device tree', 0n);
  if (next !== copies.length) {
    const expected = `${copies.length}, as the chunks have`;
    throw DiskError.corrupt({ ...place, field: 'device extents', actual: next, expected });
  }
  if (total === device.usedBytes) return;
  const expected = `${total}, as its extents`;
  throw DiskError.corrupt({ ...place, field: 'bytes_used of the device', actual: device.usedBytes, expected });
}

/** Whether the device was being replaced by another. @throws {DiskError} CORRUPT; IO, CANCELLED */
export async function isBeingReplaced(volume: BtrfsVolume, options: RequestOptions): Promise<boolean> {
  const root = await ownRoot(volume, treeIds.device, options);
  const found = await findItem(volume, root, { objectid: 0n, type: keyTypes.DEV_REPLACE, offset: 0n }, options);
  if (found === undefined) return false;
  if (found.data.length < deviceReplaceItem.size) {
    throw DiskError.corrupt({ ...found.place, field: 'size of dev_replace', actual: found.data.length });
  }
  return replacing.includes(deviceReplaceItem.at(viewOf(found.data)).replace_state);
}
