import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { withoutBytes } from '../../device/layer/holes.js';
import { findFreeSpace } from '../../guest/free-space.js';
import type { Guest } from '../../guest/guest.js';
import type { TaskContext } from '../context.js';
import type { PlanOptions } from '../sparsify/plan.js';

/** What serving needs of a guest's disk, together, so that a server of plain bytes need not wait for it to load. */
export { placedOn } from '../../device/layer/joined.js';
export { findVolume, wholeDisk } from '../../guest/find-volume.js';
export { openGuest } from '../../guest/guest.js';

/**
 * A guest's disk in which what its filesystems call free is holes. What is left alone is warned of.
 *
 * @param served bytes of the disk that somebody will see: of nothing else is anything said
 * @returns a view, which owns the disk
 * @throws {DiskError} as {@link findFreeSpace}
 */
export async function viewWithoutFree(
  guest: Guest,
  served: RangeSet,
  { minimum = 0n, ...options }: Omit<PlanOptions, 'zero'>,
  { signal, onWarning }: TaskContext,
): Promise<BlockDevice> {
  const { volumes, free } = await findFreeSpace(guest, { ...options, signal });
  for (const { name, volume, leftAlone } of volumes) {
    // What an extended partition holds is told of by itself.
    const container = volume?.content.kind === 'extended';
    const seen = volume === undefined || volume.placement.all.intersect(served).count > 0;
    const worthAWord = leftAlone?.kind === 'refused' || (leftAlone?.kind === 'unsupported' && !container);
    if (seen && worthAWord) onWarning?.(`${name} of ${guest.disk.name} is left alone: ${leftAlone.reason}`);
  }
  return withoutBytes(guest.disk, free.atLeast(minimum));
}
