import { RangeSet } from '../binary/range-set.js';
import { DiskError, hasCode } from '../error/disk-error.js';
import { type Filesystem, isReplayable, type Usage } from '../filesystem/filesystem.js';
import { type Content, typeOfContent } from './content.js';
import { findLeft, findVolume } from './find-volume.js';
import type { Guest, LeftVolume, Volume } from './guest.js';
import { unpartitioned } from './unpartitioned.js';

/** What of a disk nobody needs, and what stays and why. */
export interface FreeSpace {
  readonly volumes: readonly VolumeFreeSpace[];
  /** Bytes of the disk that nobody cares about: they may be given away, and need not read as zeros. */
  readonly free: RangeSet;
  /** Bytes of the disk whose contents the user gave up by name: they must read as zeros. */
  readonly wiped: RangeSet;
}

export interface VolumeFreeSpace {
  /** `/dev/sda1`. */
  readonly name: string;
  /** Of what it holds; of a logical volume that is not taken apart, its own; `unpartitioned` of what is in no partition. */
  readonly type: string;
  /** Bytes. */
  readonly size: bigint;
  /** Absent where there is none that could be read. */
  readonly volume?: Volume | undefined;
  /** Absent where it is not known: of what is no filesystem, or was replayed. */
  readonly usage?: Usage | undefined;
  /** Offsets on the disk. Empty for a volume that is left alone. */
  readonly free: RangeSet;
  /** Whether the user gave up all that is in it. */
  readonly wiped: boolean;
  /** What is free was found by replaying its log in memory; on the disk it needs recovery as before. */
  readonly replayed?: true | undefined;
  readonly leftAlone?: LeftAlone | undefined;
}

/** Why nothing of a volume is free. */
export interface LeftAlone {
  /** One clause: `its journal needs recovery: mount it once, or run e2fsck`. */
  readonly reason: string;
  /**
   * `refused`: a filesystem or a volume group that could be read, in a state that cannot be believed. `unsupported`: nothing that disktool
   * takes apart. `ignored`: by the user's wish.
   */
  readonly kind: 'refused' | 'unsupported' | 'ignored';
  /** Set when it is the guest that sleeps. */
  readonly hibernated?: boolean | undefined;
}

export interface FreeSpaceOptions {
  /** Volumes to leave alone, by any of their names; of a volume group, all that is in it. */
  readonly ignore?: readonly string[] | undefined;
  /** Volumes to wipe whole, by any of their names. */
  readonly wipe?: readonly string[] | undefined;
  /** Replay in memory the log of a filesystem that needs recovery. Default true; without, it is left alone. */
  readonly replay?: boolean | undefined;
  /** Whether what lies between partitions, and behind the last, is free as well. */
  readonly unpartitioned?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds what of a guest's disk is free, volume by volume. Only what a volume in a good state calls free counts, only
 * inside that volume, and never where a volume lies that is to be left alone.
 *
 * @throws {DiskError} NOT_FOUND, USAGE when a name in the options is no volume, or is to be ignored and wiped at once;
 * UNSAFE when what is to be wiped may be somebody else's as well; IO
 */
export async function findFreeSpace(guest: Guest, options: FreeSpaceOptions = {}): Promise<FreeSpace> {
  // A logical volume that is not taken apart is left alone, asked or not.
  const ignore = (options.ignore ?? []).filter((name) => findLeft(guest, name) === undefined);
  const ignored = new Set(ignore.flatMap((name) => volumesCalled(guest, name)));
  const wiped = new Set((options.wipe ?? []).map((name) => volumeCalled(guest, name)));
  const kept = bytesOf(ignored);
  for (const volume of wiped) refuseToWipe(guest, volume, kept);
  const givenUp = bytesOf(wiped);
  const found: VolumeFreeSpace[] = [];
  for (const volume of guest.volumes) {
    // What lies in another volume shares its fate.
    const isKept = ignored.has(volume) || (isWithin(volume) && meet(volume, kept));
    const isWiped = wiped.has(volume) || (isWithin(volume) && meet(volume, givenUp));
    const finding: Finding = isKept
      ? leaveAlone('ignored', 'ignored, as asked')
      : isWiped
        ? { free: RangeSet.empty }
        : await freeSpaceOf(guest, volume, options);
    // What a superblock says that is older than its journal would not go with what is free.
    const usage = finding.replayed ? undefined : await usageOf(volume);
    const { name, content, device, placement } = volume;
    const size = device.facts.size;
    const free = placement.toDisk(finding.free.clip(0n, size)).subtract(kept);
    found.push({ name, type: typeOfContent(content), size, volume, ...finding, usage, free, wiped: isWiped });
  }
  if (options.unpartitioned === true) found.push(await unpartitioned(guest, kept, options.signal));
  const volumes = unlessAsleep(found);
  return {
    volumes: [...volumes, ...guest.left.map(describeLeft)],
    free: volumes.reduce((all, { free }) => all.union(free), RangeSet.empty),
    wiped: givenUp,
  };
}

/** A guest that turns out to sleep, by a swap file in one of its filesystems, has them all in its memory. */
function unlessAsleep(volumes: readonly VolumeFreeSpace[]): readonly VolumeFreeSpace[] {
  const asleep = volumes.find(({ leftAlone }) => leftAlone?.hibernated === true);
  if (asleep === undefined) return volumes;
  const why = leaveAlone('refused', `the guest is hibernated: ${asleep.name} holds its hibernation image`);
  return volumes.map((volume) => (volume.free.count === 0 ? volume : { ...volume, ...why, replayed: undefined }));
}

function bytesOf(volumes: Iterable<Volume>): RangeSet {
  let bytes = RangeSet.empty;
  for (const { placement } of volumes) bytes = bytes.union(placement.all);
  return bytes;
}

/** Whether other volumes than the disk hold it: a partition for a logical volume, the extended one for a logical drive. */
function isWithin({ logical, partition }: Volume): boolean {
  return logical !== undefined || partition?.role === 'logical';
}

function meet({ placement }: Volume, bytes: RangeSet): boolean {
  return bytes.count > 0 && bytes.intersect(placement.all).count > 0;
}

function describeLeft({ name, size, logical, reason }: LeftVolume): VolumeFreeSpace {
  return { name, type: logical.type, size, wiped: false, ...leaveAlone('unsupported', reason) };
}

/** A volume by name, or a volume group's physical volumes and what lies in them. */
function volumesCalled(guest: Guest, name: string): readonly Volume[] {
  const { groups, volumes } = guest;
  const short = name.replace(/^\/dev\//, '');
  if (!groups.some((group) => group.name === short)) return [volumeCalled(guest, name)];
  const named = volumes.filter((volume) => volume.name === `/dev/${short}`);
  const inGroup = volumes.filter(
    ({ content, logical }) =>
      logical?.group === short || (content.kind === 'physical-volume' && content.group === short),
  );
  // A group may be called as a partition is: then both are meant.
  return [...named, ...inGroup];
}

/** A volume by name, but not a partitioned disk as a whole. */
function volumeCalled(guest: Guest, name: string): Volume {
  const volume = findVolume(guest, name);
  if (guest.volumes.includes(volume)) return volume;
  throw new DiskError('USAGE', `${name} is the whole disk: name one of ${guest.volumes.map((v) => v.name).join(', ')}`);
}

/** What the user gives up must at least be a thing of its own. */
function refuseToWipe({ disk }: Guest, volume: Volume, kept: RangeSet): void {
  const { name, content, problem = volume.leftAlone } = volume;
  if (meet(volume, kept)) {
    throw new DiskError('USAGE', `${name} is to be ignored and to be wiped: choose one`, { device: disk.name });
  }
  if (content.kind === 'extended') {
    throw new DiskError('USAGE', `${name} holds the logical partitions: name those that are to be wiped`, {
      device: disk.name,
    });
  }
  if (problem !== undefined) {
    throw new DiskError('UNSAFE', `${disk.name}: ${name} cannot be wiped: ${problem}`, {
      device: disk.name,
      reason: 'wipe',
    });
  }
}

type Finding = Pick<VolumeFreeSpace, 'free' | 'leftAlone' | 'replayed'>;

async function freeSpaceOf(guest: Guest, volume: Volume, options: FreeSpaceOptions): Promise<Finding> {
  const { content, problem } = volume;
  if (problem !== undefined) return leaveAlone('refused', problem);
  if (volume.leftAlone !== undefined) return leaveAlone('unsupported', volume.leftAlone);
  if (guest.table.kind === 'none' && guest.table.ignored !== undefined) {
    return leaveAlone(
      'refused',
      `a partition table (${guest.table.ignored}) that does not count lies on the same disk`,
    );
  }
  switch (content.kind) {
    case 'filesystem':
      if (guest.hibernated !== undefined) return leaveAlone('refused', `the guest is hibernated: ${guest.hibernated}`);
      return freeSpaceOfFilesystem(content.filesystem, options);
    case 'swap':
      if (guest.hibernated !== undefined) return leaveAlone('refused', `the guest is hibernated: ${guest.hibernated}`);
      if (content.swap.state.kind !== 'clean') return leaveAlone('refused', content.swap.state.reason);
      return { free: content.swap.freeSpace() };
    case 'damaged':
      return leaveAlone('refused', content.reason);
    case 'ambiguous':
      return leaveAlone('refused', `it could be ${content.types.join(' or ')}`);
    case 'recognised':
      return leaveAlone('unsupported', whyNot(volume, content.type));
    case 'physical-volume':
      return freeSpaceOfPhysicalVolume(guest, content);
    case 'extended':
      return leaveAlone('unsupported', 'it holds the logical partitions');
    case 'unknown':
      return leaveAlone('unsupported', 'nothing in it is recognised');
  }
}

/** What is partitioned inside a logical volume is the disk of a guest in the guest. */
function whyNot({ logical }: Volume, type: string): string {
  return logical !== undefined && ['LVM2_member', 'dos', 'gpt'].includes(type)
    ? `it holds a disk of its own (${type}), which is not taken apart`
    : `${type} is not supported`;
}

function freeSpaceOfPhysicalVolume(
  { hibernated }: Guest,
  { free, leftAlone }: Extract<Content, { kind: 'physical-volume' }>,
): Finding {
  if (free === undefined) return { free: RangeSet.empty, leftAlone };
  return hibernated === undefined ? { free } : leaveAlone('refused', `the guest is hibernated: ${hibernated}`);
}

async function freeSpaceOfFilesystem(
  filesystem: Filesystem,
  { replay = true, signal }: FreeSpaceOptions,
): Promise<Finding> {
  const { state } = filesystem;
  if (state.kind === 'unsupported') return leaveAlone('unsupported', state.reason);
  const replayed = replay && isReplayable(state);
  if (state.kind !== 'clean' && !replayed) return leaveAlone('refused', state.reason);
  try {
    const free = await filesystem.freeSpace({ replay, signal });
    return replayed ? { free, replayed } : { free };
  } catch (error) {
    // What the metadata contradicts is not free; the rest of the disk is another matter.
    if (hasCode(error, 'CORRUPT', 'UNSAFE')) {
      const hibernated = error.facts.reason === 'hibernated' ? { hibernated: true } : {};
      return { free: RangeSet.empty, leftAlone: { kind: 'refused', reason: error.message, ...hibernated } };
    }
    if (hasCode(error, 'UNSUPPORTED')) return leaveAlone('unsupported', error.message);
    throw error;
  }
}

async function usageOf({ content }: Volume): Promise<Usage | undefined> {
  if (content.kind !== 'filesystem') return undefined;
  try {
    return await content.filesystem.usage();
  } catch (error) {
    if (hasCode(error, 'CORRUPT', 'UNSUPPORTED')) return undefined;
    throw error;
  }
}

function leaveAlone(kind: LeftAlone['kind'], reason: string): Finding {
  return { free: RangeSet.empty, leftAlone: { kind, reason } };
}
