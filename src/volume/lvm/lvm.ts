import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { type GroupMetadata, readMetadata } from './metadata.js';
import { readMetadataArea } from './metadata-area.js';
import { textsLimit } from './on-disk.js';
import { type PhysicalVolumeHeader, readPhysicalVolume } from './physical-volume.js';
import { assessGroup, type FoundPhysicalVolume, type VolumeGroup } from './volume-group.js';

export type { LogicalVolume, VolumeGroup } from './volume-group.js';

/** A device with the label of a physical volume. */
export interface Candidate {
  /** What the guest calls it: `/dev/sda2`. */
  readonly name: string;
  readonly device: BlockDevice;
  /** Bytes from the start of the disk. */
  readonly offset: bigint;
  /** Why nothing of it may be changed. */
  readonly problem?: string | undefined;
}

/** What a candidate turned out to be. */
export interface PhysicalVolume {
  /** As LVM2 writes it; empty when it cannot be read. */
  readonly uuid: string;
  /** Of its volume group; undefined when it is in none that is known. */
  readonly group?: string | undefined;
  /** Extents that nobody has, in bytes from the start of its device. */
  readonly free?: RangeSet | undefined;
  /** Why nothing of it is free, when it has no free extents: `refused` for what ought to be well and is not. */
  readonly leftAlone?: { readonly kind: 'refused' | 'unsupported'; readonly reason: string } | undefined;
}

export interface VolumeGroups {
  readonly groups: readonly VolumeGroup[];
  readonly physicalVolumes: ReadonlyMap<Candidate, PhysicalVolume>;
}

/**
 * Reads the volume groups whose physical volumes are on one disk. What is wrong with one is its problem, and stops
 * nothing.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function readVolumeGroups(
  candidates: readonly Candidate[],
  options: RequestOptions = {},
): Promise<VolumeGroups> {
  const read: Read[] = [];
  const texts = new Texts();
  const physicalVolumes = new Map<Candidate, PhysicalVolume>();
  for (const candidate of candidates) {
    try {
      read.push(await readCandidate(candidate, texts, options));
    } catch (error) {
      physicalVolumes.set(candidate, { uuid: '', leftAlone: refusal(error) });
    }
  }
  const groups: VolumeGroup[] = [];
  const refused = new Map<string, DiskError>();
  const newest = newestOf(read);
  const claims = claimsOf(newest);
  for (const [uuid, copies] of newest) {
    try {
      groups.push(assemble(copies, read, newest, claims));
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      refused.set(uuid, error);
    }
  }
  for (const volume of read) physicalVolumes.set(volume.candidate, describe(volume, groups, claims, refused));
  return { groups, physicalVolumes };
}

interface Read {
  readonly candidate: Candidate;
  readonly header: PhysicalVolumeHeader;
  readonly copies: readonly Copy[];
  /** What is wrong with its metadata areas. */
  readonly flaws: readonly string[];
}

/** The metadata of a group, as one metadata area has it. */
interface Copy {
  readonly metadata: GroupMetadata;
  readonly unfinished: boolean;
}

type Copies = ReadonlyMap<string, readonly Copy[]>;

/** The texts of a disk. Copies are alike, and read into facts once; all together are bounded. */
class Texts {
  readonly #known = new Map<string, GroupMetadata>();
  #length = 0;

  /** @throws {DiskError} CORRUPT, UNSUPPORTED */
  read(text: string, where: string): GroupMetadata {
    this.#length += text.length;
    if (this.#length > textsLimit) {
      const place = { structure: where, field: 'size', actual: 'too much, with all texts before it' };
      throw DiskError.unsupported({ ...place, expected: `at most ${textsLimit} bytes on a disk` });
    }
    const metadata = this.#known.get(text) ?? readMetadata(text, where);
    this.#known.set(text, metadata);
    return metadata;
  }
}

async function readCandidate(candidate: Candidate, texts: Texts, options: RequestOptions): Promise<Read> {
  const { device } = candidate;
  const header = await readPhysicalVolume(device, options);
  const copies: Copy[] = [];
  const flaws: string[] = [];
  for (const area of header.metadataAreas) {
    try {
      const found = await readMetadataArea(device, area, options);
      if (found.kind !== 'text') continue;
      copies.push({ metadata: texts.read(found.text, found.where), unfinished: found.unfinished });
    } catch (error) {
      if (!hasCode(error, 'CORRUPT', 'UNSUPPORTED')) throw error;
      flaws.push(error.message);
    }
  }
  return { candidate, header, copies, flaws };
}

/** All copies of each group's metadata, by its UUID, the newest first. */
function newestOf(read: readonly Read[]): Copies {
  const groups = new Map<string, Copy[]>();
  for (const copy of read.flatMap(({ copies }) => copies)) {
    const others = groups.get(copy.metadata.uuid);
    if (others === undefined) groups.set(copy.metadata.uuid, [copy]);
    else others.push(copy);
  }
  for (const copies of groups.values()) {
    copies.sort((a, b) => (a.metadata.seqno > b.metadata.seqno ? -1 : a.metadata.seqno < b.metadata.seqno ? 1 : 0));
  }
  return groups;
}

/** By the UUID of a physical volume: the groups whose newest metadata has it. */
type Claims = ReadonlyMap<string, readonly GroupMetadata[]>;

function claimsOf(newest: Copies): Claims {
  const claims = new Map<string, GroupMetadata[]>();
  for (const { metadata } of [...newest.values()].flatMap(([first]) => first ?? [])) {
    for (const { uuid } of metadata.physicalVolumes.values()) {
      const others = claims.get(uuid);
      if (others === undefined) claims.set(uuid, [metadata]);
      else others.push(metadata);
    }
  }
  return claims;
}

/** @throws {DiskError} CORRUPT when nobody can tell what the group is */
function assemble(copies: readonly Copy[], read: readonly Read[], all: Copies, claims: Claims): VolumeGroup {
  const [newest, ...others] = copies;
  if (newest === undefined) throw new Error('a volume group without metadata');
  const { metadata } = newest;
  const { name, uuid, seqno, where } = metadata;
  for (const other of others) {
    if (other.metadata.seqno !== seqno || isSame(metadata, other.metadata)) continue;
    const actual = `not what the ${other.metadata.where} has under the same number`;
    throw DiskError.corrupt({ structure: where, field: `seqno ${seqno}`, actual, expected: 'one and the same' });
  }
  const members = new Set([...metadata.physicalVolumes.values()].map((volume) => volume.uuid));
  const found = new Map<string, FoundPhysicalVolume>();
  const doubts: string[] = [];
  const twice = (uuid: string) =>
    DiskError.corrupt({
      structure: where,
      field: 'UUID',
      actual: `${uuid} of two physical volumes`,
      expected: 'of one',
    });
  if (members.size < metadata.physicalVolumes.size) throw twice('one');
  for (const { candidate, header, flaws, copies: own } of read) {
    if (!members.has(header.uuid)) continue;
    if (found.has(header.uuid)) throw twice(header.uuid);
    const { name: device, offset, device: below, problem } = candidate;
    found.set(header.uuid, { name: device, offset, size: below.facts.size, header, problem });
    for (const flaw of flaws) doubts.push(`a copy of its metadata cannot be read: ${flaw}`);
    const foreign = own.find((copy) => copy.metadata.uuid !== uuid);
    if (foreign !== undefined) doubts.push(`${device} says that it is of the volume group ${foreign.metadata.name}`);
  }
  const older = others.find((other) => other.metadata.seqno !== seqno);
  if (older !== undefined) {
    doubts.push(`copies of its metadata are older (${older.metadata.seqno}, not ${seqno}): run vgck --updatemetadata`);
  }
  if (copies.some(({ unfinished }) => unfinished)) doubts.push('a change of its metadata was not ended');
  if ([...all].some(([other, [first]]) => other !== uuid && first?.metadata.name === name)) {
    doubts.push('another volume group has the same name: vgrename tells them apart');
  }
  const rival = [...members].flatMap((member) => claims.get(member) ?? []).find((other) => other.uuid !== uuid);
  if (rival !== undefined) doubts.push(`the volume group ${rival.name} has one of its physical volumes too`);
  return assessGroup(metadata, found, doubts);
}

/** Whether two copies say the same of the group; when and by what command they were written may differ. */
function isSame(one: GroupMetadata, other: GroupMetadata): boolean {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, inner: unknown) =>
      inner instanceof Map ? [...inner] : typeof inner === 'bigint' ? `${inner}n` : inner,
    );
  return one === other || text(one.section) === text(other.section);
}

function describe(
  { header: { uuid, used }, copies: own, flaws }: Read,
  groups: readonly VolumeGroup[],
  claims: Claims,
  refused: ReadonlyMap<string, DiskError>,
): PhysicalVolume {
  const listing = claims.get(uuid)?.[0];
  const refuse = (reason: string) => ({ uuid, leftAlone: { kind: 'refused' as const, reason } });
  if (listing === undefined) {
    const [claimed] = own;
    if (claimed !== undefined) return refuse(`its volume group ${claimed.metadata.name} does not know it`);
    if (flaws[0] !== undefined) return refuse(flaws[0]);
    if (used) return refuse('the metadata of its volume group is not on this disk');
    const reason = 'a physical volume of no volume group: what is in it is unknown';
    return { uuid, leftAlone: { kind: 'unsupported', reason } };
  }
  const { uuid: groupUuid, name } = listing;
  const error = refused.get(groupUuid);
  if (error !== undefined) return { ...refuse(error.message), group: name };
  const group = groups.find((other) => other.uuid === groupUuid);
  const free = group?.free.get(uuid);
  if (free === undefined) return { ...refuse(`its volume group ${name}: ${group?.problem ?? 'unknown'}`), group: name };
  return { uuid, group: name, free };
}

function refusal(error: unknown): PhysicalVolume['leftAlone'] {
  if (hasCode(error, 'UNSUPPORTED')) return { kind: 'unsupported', reason: error.message };
  if (hasCode(error, 'CORRUPT')) return { kind: 'refused', reason: error.message };
  throw error;
}
