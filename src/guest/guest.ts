import { max, min } from '../binary/convert.js';
import { Placement } from '../binary/placement.js';
import { RangeSet } from '../binary/range-set.js';
import type { BlockDevice } from '../device/block-device.js';
import { Slice } from '../device/layer/slice.js';
import { probe } from '../filesystem/probe.js';
import type { VolumeGroup } from '../volume/lvm/lvm.js';
import { type Partition, type PartitionTable, readPartitionTable } from '../volume/partition-table.js';
import { ownerOf } from '../volume/partition-type.js';
import { type Content, identify, namesOf, sizeProblem } from './content.js';
import { diskName, partitionName } from './device-name.js';
import { findLogicalVolumes } from './logical-volumes.js';

export type { Content } from './content.js';

/** A disk as its guest sees it. Nothing of it needs closing but the disk, which is the caller's. */
export interface Guest {
  readonly disk: BlockDevice;
  readonly table: PartitionTable;
  /** In the order of the table, or the disk itself when it is not partitioned; then the logical volumes. */
  readonly volumes: readonly Volume[];
  /** Logical volumes whose bytes only their own driver could tell. */
  readonly left: readonly LeftVolume[];
  /** Of LVM2, as far as they are on this disk. */
  readonly groups: readonly VolumeGroup[];
  readonly warnings: readonly string[];
  /** Set when the guest sleeps, with the reason: then no filesystem of the disk is clean, whatever it says. */
  readonly hibernated?: string | undefined;
}

/** A part of the disk that may hold a filesystem. */
export interface Volume {
  /** `/dev/sda1`; `/dev/sda` when the disk is not partitioned; `/dev/vg/root`. */
  readonly name: string;
  readonly device: BlockDevice;
  /** Where its bytes are on the disk. */
  readonly placement: Placement;
  readonly partition?: Partition | undefined;
  readonly logical?: LogicalFacts | undefined;
  readonly content: Content;
  /** Why nothing of it may be changed in place, whatever it holds. */
  readonly problem?: string | undefined;
  /** Why nothing of it may be changed although all is well with it: somebody else needs what it calls free. */
  readonly leftAlone?: string | undefined;
}

/** What a logical volume is to LVM2. */
export interface LogicalFacts {
  /** The name of its volume group. */
  readonly group: string;
  readonly name: string;
  readonly uuid: string;
  /** Of its segments, as lvs shows it: `linear`. */
  readonly type: string;
}

/** A logical volume that is not taken apart. */
export interface LeftVolume {
  /** `/dev/vg/pool`. */
  readonly name: string;
  /** Bytes. */
  readonly size: bigint;
  readonly logical: LogicalFacts;
  /** Why, as a clause. */
  readonly reason: string;
}

/**
 * Finds what is on a disk: its partitions, its logical volumes, and what each of them holds. Reads metadata alone, and changes nothing.
 *
 * @throws {DiskError} CORRUPT when there is a partition table that cannot be used; IO, CANCELLED. What is wrong with one
 *   volume is that volume's content or problem, and stops nothing
 */
export async function openGuest(
  disk: BlockDevice,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Guest> {
  const table = await readPartitionTable(disk, { signal });
  const claim = table.partitions.length === 0 ? undefined : await otherClaim(disk, table, signal);
  const volumes: Volume[] = [];
  if (table.partitions.length === 0) {
    const problem = problemOfBareDisk(table);
    volumes.push(
      await openVolume({ name: diskName, device: disk, placement: Placement.at(0n, disk.facts.size), problem }, signal),
    );
  }
  for (const partition of table.partitions) {
    const offset = min(partition.offset, disk.facts.size);
    const name = partitionName(partition.number);
    const length = max(0n, min(partition.length, disk.facts.size - offset));
    const device = new Slice(disk, offset, length, `${name} of ${disk.name}`);
    const placement = Placement.at(offset, device.facts.size);
    const volume = { name, device, placement, partition };
    volumes.push(await openVolume({ ...volume, problem: problemOf(partition, disk) ?? claim }, signal));
  }
  const logical = await findLogicalVolumes(disk, volumes, signal);
  const all = [...logical.partitions, ...logical.volumes];
  return {
    disk,
    table,
    volumes: all,
    left: logical.left,
    groups: logical.groups,
    warnings: [...table.warnings, ...(claim === undefined ? [] : [claim])],
    hibernated: hibernationOf(all) ?? (logical.tooMany && `it may be: ${logical.tooMany}`),
  };
}

async function openVolume(volume: Omit<Volume, 'content'>, signal: AbortSignal | undefined): Promise<Volume> {
  if (volume.partition?.role === 'extended') return { ...volume, content: { kind: 'extended' } };
  const content = asOwned(volume, await identify(volume.device, signal));
  return { ...volume, content, problem: volume.problem ?? sizeProblem(content, volume.device.facts.size) };
}

/** In a partition that is somebody's by its type, a filesystem is no more than a name to find it by. */
function asOwned({ partition }: Omit<Volume, 'content'>, content: Content): Content {
  const type = partition && ownerOf(partition.type);
  return type === undefined ? content : { kind: 'recognised', type, usage: 'raid', ...namesOf(content) };
}

function problemOf({ problem, offset, length }: Partition, disk: BlockDevice): string | undefined {
  switch (problem) {
    case undefined:
      return undefined;
    case 'overlaps':
      return 'it shares bytes with another partition or with the partition table: whose they are is unknown';
    case 'past-end':
      return `it ends at byte ${offset + length} of a disk of ${disk.facts.size} bytes: the image may be cut short`;
  }
}

/** Why what stands on an unpartitioned disk as a whole may not be what counts. */
function problemOfBareDisk({ kind, ignored }: PartitionTable): string | undefined {
  if (ignored !== undefined) return `a ${ignored.toUpperCase()} partition table lies on the disk, and is ignored`;
  return kind === 'gpt' ? 'the disk has a GPT without partitions' : undefined;
}

/** Formats that are meant to share a disk with a partition table. */
export const hybrids: ReadonlySet<string> = new Set(['iso9660', 'udf', 'hfs', 'hfsplus']);

/**
 * Why the partitions may not be what they seem: the disk as a whole is a member of something, or it carries a filesystem
 * beside its table, and one of the two is a relic.
 */
async function otherClaim(
  disk: BlockDevice,
  table: PartitionTable,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const found = await probe(disk, { signal, covered: RangeSet.of(table.partitions) });
  const matches = found.kind === 'none' ? [] : found.kind === 'one' ? [found.match] : found.matches;
  const types = matches.filter(({ type }) => !hybrids.has(type)).map(({ type }) => type);
  if (types.length === 0) return undefined;
  return `the disk has a partition table and a signature of ${types.join(' and ')}: one of them may be a relic (wipefs shows both)`;
}

function hibernationOf(volumes: readonly Volume[]): string | undefined {
  for (const { name, content } of volumes) {
    if (content.kind === 'swap' && content.swap.state.kind === 'hibernated') {
      return `${name}: ${content.swap.state.reason}`;
    }
    const types = content.kind === 'ambiguous' ? content.types : 'type' in content ? [content.type] : [];
    if (types.includes('swsuspend')) return `${name}: it carries the signature of a hibernation image`;
  }
  return undefined;
}
