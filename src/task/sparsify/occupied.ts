import { type RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { occupiedRanges } from '../../host/fiemap.js';

/** Where the host has room set aside for a disk: by the host filesystem's own map, else where it says data is. */
export async function occupiedBytes(disk: BlockDevice, signal: AbortSignal | undefined): Promise<RangeSet> {
  const { hostFile, size, extents } = disk.facts;
  if (hostFile !== undefined && extents) {
    const occupied = occupiedRanges(hostFile.fd, size);
    if (occupied !== undefined) return occupied.clip(0n, size);
  }
  const builder = new RangeSetBuilder();
  for await (const extent of disk.extents(0n, size, { signal })) {
    if (extent.allocated) builder.add(extent.offset, extent.length);
  }
  return builder.finish();
}
