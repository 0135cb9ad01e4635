import { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { type FreeSpace, type FreeSpaceOptions, findFreeSpace } from '../../guest/free-space.js';
import { type Guest, openGuest } from '../../guest/guest.js';
import type { TaskContext } from '../context.js';
import { occupiedBytes } from './occupied.js';
import type { VolumeReport } from './report.js';

export interface PlanOptions extends Omit<FreeSpaceOptions, 'wipe' | 'signal'> {
  /** Volumes whose contents are given up, by any of their names. */
  readonly zero?: readonly string[] | undefined;
  /** Bytes: free ranges shorter than this are left as they are. */
  readonly minimum?: bigint | undefined;
}

/** What can be given back, before anything is changed. */
export interface Plan {
  readonly guest: Guest;
  readonly freeSpace: FreeSpace;
  /** Whole host blocks of free bytes: trimmed. */
  readonly trim: RangeSet;
  /** Bytes given up by name: zeroed, to the last one. */
  readonly wipe: RangeSet;
  readonly volumes: readonly VolumeReport[];
}

/** Reads the guest's metadata and works out what can be given back. Changes nothing. */
export async function planSparsify(disk: BlockDevice, options: PlanOptions, { signal }: TaskContext): Promise<Plan> {
  const guest = await openGuest(disk, { signal });
  const { zero: wipe, minimum = 0n, ...what } = options;
  const freeSpace = await findFreeSpace(guest, { ...what, wipe, signal });
  const block = BigInt(disk.facts.blockSize.preferred);
  const whole = (free: RangeSet) => free.atLeast(minimum).roundInwards(block);
  const occupied = await occupiedBytes(disk, signal);
  const volumes = freeSpace.volumes.map((found): VolumeReport => {
    const { name, type, size, volume, usage, free, leftAlone, wiped, replayed } = found;
    const givenUp = wiped && volume ? freeSpace.wiped.intersect(volume.placement.all) : RangeSet.empty;
    return {
      device: name,
      type,
      size,
      used: usage?.used,
      free: free.total,
      reclaimable: whole(free).union(givenUp.roundInwards(block)).intersect(occupied).total,
      wiped,
      replayed,
      leftAlone,
    };
  });
  return { guest, freeSpace, trim: whole(freeSpace.free), wipe: freeSpace.wiped, volumes };
}
