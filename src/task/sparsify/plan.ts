import { type RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { type FreeSpace, findFreeSpace } from '../../guest/free-space.js';
import { type Guest, openGuest } from '../../guest/guest.js';
import { occupiedRanges } from '../../host/fiemap.js';
import type { TaskContext } from '../context.js';
import type { VolumeReport } from './report.js';

export interface PlanOptions {
  /** Volumes to leave alone, by any of their names. */
  readonly ignore?: readonly string[] | undefined;
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
  /** Whole host blocks of bytes given up by name: zeroed. */
  readonly wipe: RangeSet;
  readonly volumes: readonly VolumeReport[];
}

/** Reads the guest's metadata and works out what can be given back. Changes nothing. */
export async function planSparsify(disk: BlockDevice, options: PlanOptions, { signal }: TaskContext): Promise<Plan> {
  const guest = await openGuest(disk, { signal });
  const freeSpace = await findFreeSpace(guest, { ignore: options.ignore, wipe: options.zero, signal });
  const block = BigInt(disk.facts.blockSize.preferred);
  const whole = (free: RangeSet) => free.atLeast(options.minimum ?? 0n).roundInwards(block);
  const occupied = await occupiedBytes(disk, signal);
  const volumes = freeSpace.volumes.map(({ volume, usage, free, leftAlone }): VolumeReport => {
    const wiped = freeSpace.wiped.clip(volume.offset, volume.device.facts.size);
    return {
      device: volume.name,
      type: contentType(volume.content),
      size: volume.device.facts.size,
      used: usage?.used,
      free: free.total,
      reclaimable: whole(free).union(wiped.roundInwards(block)).intersect(occupied).total,
      wiped: wiped.count > 0,
      leftAlone,
    };
  });
  return { guest, freeSpace, trim: whole(freeSpace.free), wipe: freeSpace.wiped.roundInwards(block), volumes };
}

/** Where the host has room set aside for the disk: from the filesystem's own map, else from where it says data is. */
async function occupiedBytes(disk: BlockDevice, signal: AbortSignal | undefined): Promise<RangeSet> {
  const { hostFile, size, extents } = disk.facts;
  if (hostFile !== undefined && extents) {
    const occupied = occupiedRanges(hostFile.fd, size, disk.name);
    if (occupied !== undefined) return occupied;
  }
  const builder = new RangeSetBuilder();
  for await (const extent of disk.extents(0n, size, { signal })) {
    if (extent.allocated) builder.add(extent.offset, extent.length);
  }
  return builder.finish();
}

function contentType(content: Guest['volumes'][number]['content']): string {
  switch (content.kind) {
    case 'filesystem':
      return content.filesystem.type;
    case 'swap':
    case 'extended':
    case 'unknown':
      return content.kind;
    case 'recognised':
    case 'damaged':
      return content.type;
    case 'ambiguous':
      return content.types.join('/');
  }
}
