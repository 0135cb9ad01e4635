import { Placement, type Segment } from '../../binary/placement.js';
import { RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import { DiskError } from '../../error/disk-error.js';
import { findUsers, leftAlone, type Users } from './left-alone.js';
import type { AreaEntry, GroupMetadata, LogicalVolumeEntry, PhysicalVolumeEntry } from './metadata.js';
import type { PhysicalVolumeHeader } from './physical-volume.js';

/** A physical volume where it is. */
export interface FoundPhysicalVolume {
  /** What the guest calls its device: `/dev/sda2`. */
  readonly name: string;
  /** Bytes from the start of the disk to the device. */
  readonly offset: bigint;
  /** Bytes of the device. */
  readonly size: bigint;
  readonly header: PhysicalVolumeHeader;
  /** Why nothing of the device may be changed. */
  readonly problem?: string | undefined;
}

/** A volume group as far as it is on one disk. */
export interface VolumeGroup {
  readonly name: string;
  readonly uuid: string;
  /** Bytes. */
  readonly extentSize: bigint;
  /** Bytes of all its extents. */
  readonly size: bigint;
  readonly logicalVolumes: readonly LogicalVolume[];
  /** By the UUID of the physical volume: extents that no logical volume has, in bytes from the start of its device. */
  readonly free: ReadonlyMap<string, RangeSet>;
  /** Why nothing in it may be changed, and nothing of it is free. */
  readonly problem?: string | undefined;
}

export interface LogicalVolume {
  readonly name: string;
  readonly uuid: string;
  /** Of its segments, as lvs shows it: `linear`, `striped`, `thin-pool`. */
  readonly type: string;
  /** Bytes. */
  readonly size: bigint;
  /** Where its bytes are on the disk; undefined when they are no bytes of the disk, or not in an order that is known. */
  readonly placement?: Placement | undefined;
  /** Why nothing in it may be changed, although all is well with it. Set whenever there is no placement. */
  readonly leftAlone?: string | undefined;
}

const known = {
  group: new Set(['RESIZEABLE', 'READ', 'WRITE', 'WRITE_LOCKED', 'NOAUTOACTIVATE']),
  physical: new Set(['ALLOCATABLE']),
};
/** Each type of segment whose areas are named as others', or that has none. LVM2 lib/metadata/segtype.h. */
const segmentTypes =
  /^(?:linear|striped|mirror|snapshot|thin|thin-pool|cache|cache-pool|writecache|integrity|error|zero|vdo|vdo-pool|raid\d+(?:_\w+)?)$/;

/**
 * Works out where the logical volumes of a group lie, and which of its extents nobody has.
 *
 * @param found the physical volumes of the disk, by UUID
 * @param doubts what is wrong with the copies of the metadata
 * @throws {DiskError} CORRUPT when its volumes share extents, or lie where there are none
 */
export function assessGroup(
  metadata: GroupMetadata,
  found: ReadonlyMap<string, FoundPhysicalVolume>,
  doubts: readonly string[],
): VolumeGroup {
  const allocated = allocate(metadata);
  const problem = problemOf(metadata, found) ?? doubts[0];
  const { name, uuid, extentSize, physicalVolumes, logicalVolumes } = metadata;
  let extents = 0n;
  const free = new Map<string, RangeSet>();
  const users = findUsers(metadata);
  for (const [key, { uuid: pv, start, extents: count }] of physicalVolumes) {
    extents += count;
    const whole = RangeSet.of([{ offset: start, length: count * extentSize }]);
    if (problem === undefined) free.set(pv, whole.subtract(allocated.get(key) ?? RangeSet.empty));
  }
  return Object.freeze({
    name,
    uuid,
    extentSize,
    size: extents * extentSize,
    logicalVolumes: [...logicalVolumes.values()]
      // The volume of a snapshot's segment is no volume: the one that keeps its changes has the name.
      .filter(({ segments }) => segments.length > 0 && segments.every(({ snapshot }) => snapshot === undefined))
      .map((lv) => place(lv, users, metadata, found)),
    free,
    problem,
  });
}

/** Bytes of each physical volume, by its key, that are some logical volume's. */
function allocate(metadata: GroupMetadata): ReadonlyMap<string, RangeSet> {
  const { physicalVolumes, logicalVolumes, extentSize, where } = metadata;
  const builders = new Map<string, { builder: RangeSetBuilder; total: bigint }>();
  for (const { name, segments } of logicalVolumes.values()) {
    for (const { areas, extents } of segments) {
      for (const area of areas) {
        const pv = physicalVolumes.get(area.name);
        if (pv === undefined) {
          if (logicalVolumes.has(area.name)) continue;
          throw corrupt(where, name, `on ${area.name}`, 'a volume of the group');
        }
        const count = extents / BigInt(areas.length);
        if (area.extent + count > pv.extents) {
          const actual = `on extents ${area.extent} to ${area.extent + count - 1n} of ${pv.key}`;
          throw corrupt(where, name, actual, `extents below ${pv.extents}`);
        }
        const taken = builders.get(pv.key) ?? { builder: new RangeSetBuilder(), total: 0n };
        taken.builder.add(pv.start + area.extent * extentSize, count * extentSize);
        builders.set(pv.key, { ...taken, total: taken.total + count * extentSize });
      }
    }
  }
  return new Map(
    [...builders].map(([key, { builder, total }]) => {
      const taken = builder.finish();
      if (taken.total !== total) throw corrupt(where, key, 'in several volumes at once', 'one volume for each extent');
      return [key, taken] as const;
    }),
  );
}

function corrupt(structure: string, field: string, actual: string, expected: string): DiskError {
  return DiskError.corrupt({ structure, field, actual, expected });
}

/** Why nothing of the whole group may be changed. */
function problemOf(metadata: GroupMetadata, found: ReadonlyMap<string, FoundPhysicalVolume>): string | undefined {
  const { status, lockType, physicalVolumes, logicalVolumes } = metadata;
  const volumes = [...logicalVolumes.values()];
  const moving = [status, ...volumes.map((volume) => volume.status)].some((words) => words.includes('PVMOVE'));
  if (moving) return 'pvmove is moving extents: let it end, or give it up with pvmove --abort';
  if (status.includes('EXPORTED')) return 'it is exported: vgimport makes it usable again';
  if (lockType !== 'none' || status.includes('CLUSTERED') || status.includes('SHARED')) {
    return `machines share it (${lockType === 'none' ? 'clustered' : lockType}): another one may have it in use`;
  }
  const odd = status.find((word) => !known.group.has(word));
  if (odd !== undefined) return `it has the status ${shown(odd)}, which disktool does not know`;
  for (const { segments, name } of volumes) {
    for (const { type, areas, names } of segments) {
      if (!segmentTypes.test(type))
        return `${name} has a segment of the type ${shown(type)}, which disktool does not know`;
      if (areas.length === 0 && names.some((other) => physicalVolumes.has(other) && !logicalVolumes.has(other))) {
        return `${name} has a segment of the type ${type} on a physical volume itself`;
      }
    }
  }
  for (const volume of physicalVolumes.values()) {
    const problem = problemOfPhysical(volume, found.get(volume.uuid), metadata);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function problemOfPhysical(
  { uuid, status, start, extents, deviceSize }: PhysicalVolumeEntry,
  found: FoundPhysicalVolume | undefined,
  { extentSize }: GroupMetadata,
): string | undefined {
  if (found === undefined) return `its physical volume ${uuid} is not on this disk`;
  const { name, size, header, problem } = found;
  if (problem !== undefined) return `${name}: ${problem}`;
  if (status.includes('MISSING')) return `${name} was missing when it was last changed: run vgextend --restoremissing`;
  const odd = status.find((word) => !known.physical.has(word));
  if (odd !== undefined) return `${name} has the status ${shown(odd)}, which disktool does not know`;
  const end = start + extents * extentSize;
  const needed = end > deviceSize ? end : deviceSize;
  if (needed > size) return `${name} had ${needed} bytes, and there are only ${size}: the image may be cut short`;
  if (header.dataStart !== undefined && header.dataStart !== start) {
    return `the header of ${name} has its extents begin at byte ${header.dataStart}, and the metadata at ${start}`;
  }
  if (header.reserved.clip(start, end - start).count > 0) return `extents of ${name} lie on its own metadata`;
  return undefined;
}

function place(
  volume: LogicalVolumeEntry,
  users: Users,
  metadata: GroupMetadata,
  found: ReadonlyMap<string, FoundPhysicalVolume>,
): LogicalVolume {
  const { name, uuid, extents, segments } = volume;
  const [first] = segments;
  const striped = segments.some(({ areas }) => areas.length > 1);
  const plain = striped ? 'striped' : 'linear';
  const type = segments.every(({ areas }) => areas.length > 0) ? plain : (first?.type ?? 'unknown');
  const facts = { name, uuid, type, size: extents * metadata.extentSize };
  const { reason, readable } = leftAlone(volume, users, metadata);
  if (!readable) return Object.freeze({ ...facts, leftAlone: reason });
  // Partitions that share bytes could make more of a disk than there is.
  if (facts.size >= 2n ** 63n) return Object.freeze({ ...facts, leftAlone: 'it is larger than any device' });
  const placed: Segment[] = [];
  for (const { areas, extents: count, stripeSize } of segments) {
    const length = count * metadata.extentSize;
    const offsets = areas.map((area) => placeArea(area, length / BigInt(areas.length), metadata, found));
    const places = offsets.filter((offset) => offset !== undefined);
    if (places.length < areas.length) {
      return Object.freeze({ ...facts, leftAlone: 'a part of it is not on this disk' });
    }
    if (areas.length > 1 && length % (stripeSize * BigInt(areas.length)) !== 0n) {
      return Object.freeze({ ...facts, leftAlone: `its stripes of ${stripeSize} bytes do not fill its extents` });
    }
    placed.push({ length, stripeSize: areas.length > 1 ? stripeSize : length, areas: places });
  }
  return Object.freeze({ ...facts, placement: new Placement(placed), leftAlone: reason });
}

/** Bytes from the start of the disk; undefined when it is not on the disk. */
function placeArea(
  { name, extent }: AreaEntry,
  length: bigint,
  { physicalVolumes, extentSize }: GroupMetadata,
  found: ReadonlyMap<string, FoundPhysicalVolume>,
): bigint | undefined {
  const entry = physicalVolumes.get(name);
  const volume = entry && found.get(entry.uuid);
  if (entry === undefined || volume === undefined) return undefined;
  const offset = entry.start + extent * extentSize;
  return offset + length <= volume.size ? volume.offset + offset : undefined;
}

function shown(word: string): string {
  return JSON.stringify(word.slice(0, 40));
}
