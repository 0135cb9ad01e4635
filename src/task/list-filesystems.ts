import { toNumber } from '../binary/convert.js';
import { hasCode } from '../error/disk-error.js';
import type { Filesystem, Usage } from '../filesystem/filesystem.js';
import { namesOf } from '../guest/content.js';
import { diskName } from '../guest/device-name.js';
import { type Guest, type LeftVolume, type LogicalFacts, openGuest, type Volume } from '../guest/guest.js';
import { openImage, type SourceOptions } from '../image/open-image.js';
import type { Partition } from '../volume/partition-table.js';
import type { TaskContext } from './context.js';

export interface ListOptions extends SourceOptions {
  readonly image: string;
  /** Lists what is no filesystem as well: swap, unknown contents, partitions, logical volumes and their groups, the disk. */
  readonly all?: boolean | undefined;
}

export interface Listing {
  readonly image: string;
  /** Bytes of the disk. */
  readonly size: bigint;
  readonly table: { readonly kind: 'gpt' | 'mbr' | 'none'; readonly sectorSize: number; readonly uuid: string };
  readonly entries: readonly Entry[];
  readonly warnings: readonly string[];
}

/** One line of the list: a filesystem (or what stands in its place), or what holds one: a partition, the disk. */
export interface Entry {
  /** `/dev/sda1`, `/dev/vg/root`; of a volume group, its own. */
  readonly name: string;
  readonly type: 'filesystem' | 'swap' | 'other' | 'partition' | 'lv' | 'vg' | 'device';
  /** Of the format, as blkid spells it; `unknown`; empty for what holds one. */
  readonly vfs: string;
  readonly label: string;
  readonly uuid: string;
  /** The type byte of an MBR partition. */
  readonly mbr?: number | undefined;
  /** Bytes of what holds it. */
  readonly size: bigint;
  /** Bytes that the filesystem says are its own. */
  readonly filesystemSize?: bigint | undefined;
  readonly used?: bigint | undefined;
  readonly free?: bigint | undefined;
  /** `clean`, or why what it says of itself cannot be believed: a word, and a clause. */
  readonly state?: string | undefined;
  readonly reason?: string | undefined;
  /** Why nothing of it may be changed in place. */
  readonly problem?: string | undefined;
  /**
   * The disk of a partition or what is in it, the volume group of a logical volume, the physical volumes of a volume
   * group with commas between them.
   */
  readonly parent: string;
  /** Only of a partition. */
  readonly partition?: PartitionFacts | undefined;
  /** Only of a logical volume. */
  readonly logical?: LogicalFacts | undefined;
}

export interface PartitionFacts {
  readonly number: number;
  /** Bytes from the start of the disk. */
  readonly offset: bigint;
  readonly type: string;
  readonly name: string;
  readonly uuid: string;
  readonly bootable: boolean;
  readonly role: Partition['role'];
}

/**
 * Lists the filesystems of an image. A filesystem that is dirty or damaged is listed with its state.
 *
 * @throws {DiskError} as `openImage` and `openGuest` do
 */
export async function listFilesystems(options: ListOptions, context: TaskContext = {}): Promise<Listing> {
  const { image, all = false, ...source } = options;
  const { signal, onWarning } = context;
  await using disk = await openImage(image, { ...source, access: 'read', signal, onWarning });
  const guest = await openGuest(disk, { signal });
  for (const warning of guest.warnings) onWarning?.(`${image}: ${warning}`);
  const contents = await Promise.all(guest.volumes.map((volume) => contentEntry(guest, volume)));
  const { kind, sectorSize, uuid } = guest.table;
  return {
    image,
    size: disk.facts.size,
    table: { kind, sectorSize, uuid },
    entries: all
      ? [...contents, ...guest.left.map(leftEntry), ...containers(guest)]
      : contents.filter(({ type }) => type === 'filesystem'),
    warnings: guest.warnings,
  };
}

async function contentEntry(guest: Guest, volume: Volume): Promise<Entry> {
  const { name, device, problem, leftAlone, partition, logical } = volume;
  const { label, uuid } = namesOf(volume.content);
  const { type, vfs, reason = leftAlone, ...facts } = await factsOf(guest, volume);
  const mbr = mbrType(guest, partition);
  const parent = logical?.group ?? (partition === undefined ? '' : diskName);
  return { name, type, vfs, label, uuid, mbr, size: device.facts.size, ...facts, reason, problem, parent };
}

function leftEntry({ name, size, logical, reason }: LeftVolume): Entry {
  return { name, type: 'other', vfs: logical.type, label: '', uuid: '', size, reason, parent: logical.group };
}

/** What is listed of a volume's content. */
type ContentFacts = Pick<Entry, 'type' | 'vfs' | 'filesystemSize' | 'used' | 'free' | 'state' | 'reason'>;

async function factsOf(guest: Guest, { content }: Volume): Promise<ContentFacts> {
  switch (content.kind) {
    case 'filesystem': {
      const { filesystem } = content;
      const { type: vfs, size: filesystemSize } = filesystem;
      const usage = await usageOf(filesystem);
      return { type: 'filesystem', vfs, filesystemSize, ...usage, ...stateOf(guest, filesystem) };
    }
    case 'swap': {
      const { type: vfs, size: filesystemSize } = content.swap;
      return { type: 'swap', vfs, filesystemSize, ...stateOf(guest, content.swap) };
    }
    case 'recognised':
      return { type: content.usage === 'filesystem' ? 'filesystem' : 'other', vfs: content.type };
    case 'physical-volume':
      return { type: 'other', vfs: content.type, free: content.free?.total, reason: content.leftAlone?.reason };
    case 'damaged':
      return {
        type: content.type === 'swap' ? 'swap' : 'filesystem',
        vfs: content.type,
        state: 'damaged',
        reason: content.reason,
      };
    case 'ambiguous': {
      const reason = `it carries the signatures of ${content.types.join(' and ')}`;
      return { type: 'filesystem', vfs: content.types.join('/'), state: 'ambiguous', reason };
    }
    case 'extended':
    case 'unknown':
      return { type: 'other', vfs: content.kind };
  }
}

function stateOf({ hibernated }: Guest, { state }: Pick<Filesystem, 'state'>): Pick<Entry, 'state' | 'reason'> {
  if (state.kind !== 'clean') return { state: state.kind, reason: state.reason };
  return hibernated === undefined ? { state: 'clean' } : { state: 'hibernated', reason: hibernated };
}

async function usageOf(filesystem: Filesystem): Promise<Partial<Usage>> {
  try {
    const { used, free } = await filesystem.usage();
    return { used, free };
  } catch (error) {
    if (hasCode(error, 'CORRUPT', 'UNSUPPORTED')) return {};
    throw error;
  }
}

function containers(guest: Guest): Entry[] {
  const partitions = guest.volumes.flatMap(({ name, partition, problem }): Entry[] => {
    if (partition === undefined) return [];
    const { number, offset, length, type, uuid, bootable, role } = partition;
    const facts = { number, offset, type, name: partition.name, uuid, bootable, role };
    const mbr = mbrType(guest, partition);
    return [
      {
        name,
        type: 'partition',
        vfs: '',
        label: '',
        uuid: '',
        mbr,
        size: length,
        problem,
        parent: diskName,
        partition: facts,
      },
    ];
  });
  const device: Entry = {
    name: diskName,
    type: 'device',
    vfs: '',
    label: '',
    uuid: '',
    size: guest.disk.facts.size,
    parent: '',
  };
  const logical = [...guest.volumes, ...guest.left].flatMap((volume): Entry[] => {
    if (volume.logical === undefined) return [];
    const size = 'device' in volume ? volume.device.facts.size : volume.size;
    const { name, logical } = volume;
    return [{ name, type: 'lv', vfs: '', label: '', uuid: logical.uuid, size, parent: logical.group, logical }];
  });
  const groups = guest.groups.map(
    ({ name, uuid, size, problem }): Entry => ({
      name,
      type: 'vg',
      vfs: '',
      label: '',
      uuid,
      size,
      problem,
      parent: physicalVolumesOf(guest, name).join(','),
    }),
  );
  return [...partitions, ...logical, ...groups, device];
}

/** The names of what a volume group lies in. */
function physicalVolumesOf({ volumes }: Guest, group: string): string[] {
  return volumes
    .filter(({ content }) => content.kind === 'physical-volume' && content.group === group)
    .map(({ name }) => name);
}

/** `0x83` as the byte that it is. */
function mbrType({ table }: Guest, partition: Partition | undefined): number | undefined {
  if (table.kind !== 'mbr' || partition === undefined) return undefined;
  return toNumber(BigInt(partition.type));
}
