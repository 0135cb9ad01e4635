import type { BlockDevice } from '../../device/block-device.js';
import { withoutBytes } from '../../device/layer/holes.js';
import { findFreeSpace } from '../../guest/free-space.js';
import type { Guest } from '../../guest/guest.js';
import type { TaskContext } from '../context.js';
import type { PlanOptions } from '../sparsify/plan.js';

/** What serving needs of a guest's disk, together, so that a server of plain bytes need not wait for it to load. */
export { findVolume } from '../../guest/find-volume.js';
export { openGuest } from '../../guest/guest.js';

/**
 * A part of a disk in which what the guest's filesystems call free is holes. What is left alone is warned of.
 *
 * @param part owned by the view
 * @param offset bytes from the start of the disk to that of the part
 * @throws {DiskError} as {@link findFreeSpace}
 */
export async function viewWithoutFree(
  guest: Guest,
  part: BlockDevice,
  offset: bigint,
  { ignore, minimum = 0n }: Omit<PlanOptions, 'zero'>,
  { signal, onWarning }: TaskContext,
): Promise<BlockDevice> {
  const { volumes, free } = await findFreeSpace(guest, { ignore, signal });
  const { size } = part.facts;
  for (const { volume, leftAlone } of volumes) {
    const served = volume.offset < offset + size && offset < volume.offset + volume.device.facts.size;
    const worthAWord = leftAlone?.kind === 'refused' || (leftAlone?.kind === 'unsupported' && isNoContainer(volume));
    if (served && worthAWord) onWarning?.(`${volume.name} of ${guest.disk.name} is left alone: ${leftAlone.reason}`);
  }
  return withoutBytes(part, free.atLeast(minimum).clip(offset, size).shift(-offset));
}

/** What an extended partition holds is told of by itself. */
function isNoContainer({ content }: Guest['volumes'][number]): boolean {
  return content.kind !== 'extended';
}
