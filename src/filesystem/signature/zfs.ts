import { roundDown } from '../../binary/convert.js';
import { viewOf } from '../../binary/layout.js';
import type { DeviceReader } from '../device-reader.js';
import * as disk from './on-disk.js';

/**
 * Finds a member of a ZFS pool: by the list of names and values in one of its labels, or by the ring of uberblocks.
 *
 * @param size bytes of the device
 * @returns where it was found, in bytes from the start of the device
 */
export async function findZfs(reader: DeviceReader, size: bigint): Promise<bigint | undefined> {
  if (size < disk.zfsMinimumSize) return undefined;
  const end = roundDown(size, disk.zfsLabelSize);
  const labels = [0n, disk.zfsLabelSize, end - 2n * disk.zfsLabelSize, end - disk.zfsLabelSize];
  for (const label of labels) {
    const at = label + disk.zfsNameValueListOffset;
    const raw = await reader.bytes(at, disk.zfsNameValueList.size);
    if (raw === undefined) continue;
    const { nvh_encoding, nvh_endian, first_name } = disk.zfsNameValueList.at(viewOf(raw));
    if (nvh_encoding === 1 && nvh_endian <= 1 && first_name === 'version') return at;
  }
  let count = 0;
  for (const label of labels) {
    const ring = await reader.bytes(label + disk.zfsRingOffset, disk.zfsRingSize);
    if (ring === undefined) continue;
    const view = viewOf(ring);
    for (let slot = 0; slot < disk.zfsRingSize; slot += disk.zfsSlotSize) {
      const magics = [disk.zfsUberblock.at(view, slot).ub_magic, disk.zfsUberblockBig.at(view, slot).ub_magic];
      if (magics.includes(disk.zfsUberblockMagic) && ++count === disk.zfsEnoughUberblocks) {
        return label + disk.zfsRingOffset;
      }
    }
  }
  return undefined;
}
