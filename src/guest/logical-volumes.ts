import type { BlockDevice } from '../device/block-device.js';
import { placedOn } from '../device/layer/joined.js';
import { hasCode } from '../error/disk-error.js';
import { readVolumeGroups, type VolumeGroup } from '../volume/lvm/lvm.js';
import { readPartitionTable } from '../volume/partition-table.js';
import { type Content, identify, sizeProblem, typeOfContent } from './content.js';
import { logicalVolumeName } from './device-name.js';
import type { LeftVolume, Volume } from './guest.js';

/** What the physical volumes among the partitions hold. */
export interface Logical {
  /** The partitions, with what is known of the physical volumes among them. */
  readonly partitions: readonly Volume[];
  readonly volumes: readonly Volume[];
  readonly left: readonly LeftVolume[];
  readonly groups: readonly VolumeGroup[];
  /** Set when there are more of them than are looked into: then one of those may hold a hibernation image. */
  readonly tooMany?: string | undefined;
}

/** Logical volumes of a disk that are looked into: each is read in some dozens of places. */
const mostVolumes = 1024;

/**
 * Finds the logical volumes of LVM2 on a disk.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function findLogicalVolumes(
  disk: BlockDevice,
  partitions: readonly Volume[],
  signal: AbortSignal | undefined,
): Promise<Logical> {
  const physical = partitions.filter(({ content }) => content.kind === 'recognised' && content.type === physicalType);
  if (physical.length === 0) return { partitions, volumes: [], left: [], groups: [] };
  const candidates = new Map(
    physical.map((volume) => {
      const { name, device, placement, problem } = volume;
      return [volume, { name, device, offset: placement.offset ?? 0n, problem }] as const;
    }),
  );
  const { groups, physicalVolumes } = await readVolumeGroups([...candidates.values()], { signal });
  const count = groups.reduce((sum, { logicalVolumes }) => sum + logicalVolumes.length, 0);
  const tooMany =
    count > mostVolumes
      ? `the disk has ${count} logical volumes: more than ${mostVolumes} are not looked into`
      : undefined;
  const volumes: Volume[] = [];
  const left: LeftVolume[] = [];
  for (const group of groups) {
    for (const { name: short, uuid, type, size, placement, leftAlone } of group.logicalVolumes) {
      const name = logicalVolumeName(group.name, short);
      const logical = { group: group.name, name: short, uuid, type };
      if (placement === undefined || tooMany !== undefined) {
        left.push({ name, size, logical, reason: leftAlone ?? tooMany ?? 'it is not known where it lies' });
        continue;
      }
      const device = placedOn(disk, placement, `${name} of ${disk.name}`);
      const content = await identifyLogical(device, signal);
      const problem =
        group.problem === undefined ? sizeProblem(content, size) : `its volume group ${group.name}: ${group.problem}`;
      volumes.push({ name, device, placement, logical, content, problem, leftAlone });
    }
  }
  const known = partitions.map((volume): Volume => {
    const candidate = candidates.get(volume);
    const found = candidate && physicalVolumes.get(candidate);
    if (found === undefined) return volume;
    const { free, leftAlone, ...facts } = found;
    const kept =
      tooMany === undefined ? { free, leftAlone } : { leftAlone: { kind: 'refused', reason: tooMany } as const };
    return { ...volume, content: { kind: 'physical-volume', type: physicalType, ...facts, ...kept } };
  });
  return { partitions: known, volumes, left, groups, tooMany };
}

/** As blkid spells it. */
const physicalType = 'LVM2_member';

/** A logical volume may be the disk of a guest in the guest: then it is partitioned. */
async function identifyLogical(device: BlockDevice, signal: AbortSignal | undefined): Promise<Content> {
  const content = await identify(device, signal);
  try {
    const { kind, uuid, partitions } = await readPartitionTable(device, { signal });
    if (partitions.length === 0) return content;
    const type = kind === 'mbr' ? 'dos' : kind;
    if (content.kind === 'unknown') return { kind: 'recognised', type, label: '', uuid, usage: 'other' };
    return { kind: 'ambiguous', types: [typeOfContent(content), type] };
  } catch (error) {
    if (!hasCode(error, 'CORRUPT')) throw error;
    if (content.kind === 'unknown') return { kind: 'damaged', type: 'gpt', reason: error.message };
    return { kind: 'ambiguous', types: [typeOfContent(content), 'gpt'] };
  }
}
