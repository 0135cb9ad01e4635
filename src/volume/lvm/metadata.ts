import { DiskError } from '../../error/disk-error.js';
import { isSection, parseConfigText, type Section } from './config-text.js';
import { Fields } from './fields.js';
import { lvmSector } from './on-disk.js';

/** What the metadata text of LVM2 says of a volume group, checked entry by entry. LVM2 lib/format_text/import_vsn1.c. */
export interface GroupMetadata {
  readonly name: string;
  readonly uuid: string;
  /** Counts the changes. */
  readonly seqno: bigint;
  /** Bytes. */
  readonly extentSize: bigint;
  readonly physicalVolumes: ReadonlyMap<string, PhysicalVolumeEntry>;
  readonly logicalVolumes: ReadonlyMap<string, LogicalVolumeEntry>;
  /** Upper-case words of its status. */
  readonly status: readonly string[];
  /** Who locks it, when machines share it: `sanlock`, `dlm`; `none` when nobody does. */
  readonly lockType: string;
  /** Its section: the same in each copy of the text. */
  readonly section: Section;
  /** Of the text, for errors. */
  readonly where: string;
}

export interface PhysicalVolumeEntry {
  /** As segments name it: `pv0`. */
  readonly key: string;
  readonly uuid: string;
  readonly status: readonly string[];
  /** Bytes. */
  readonly deviceSize: bigint;
  /** Bytes from the start of the device. */
  readonly start: bigint;
  readonly extents: bigint;
}

export interface LogicalVolumeEntry {
  readonly name: string;
  readonly uuid: string;
  readonly status: readonly string[];
  /** In the order of its extents, which they tile. */
  readonly segments: readonly SegmentEntry[];
  /** Sum of its segments. */
  readonly extents: bigint;
}

export interface SegmentEntry {
  /** Without the flags behind a `+`. */
  readonly type: string;
  /** Words behind a `+` in its type. */
  readonly flags: readonly string[];
  /** In extents, from the start of its logical volume. */
  readonly start: bigint;
  readonly extents: bigint;
  /** Bytes; 0 when there is one area. */
  readonly stripeSize: bigint;
  /** Of a linear or striped segment. */
  readonly areas: readonly AreaEntry[];
  /** All names in it that may be of other volumes. */
  readonly names: readonly string[];
  readonly snapshot?: SnapshotEntry | undefined;
}

/** What a segment of the type snapshot says; its own logical volume is only its place in the text. */
export interface SnapshotEntry {
  readonly origin: string;
  /** The volume that keeps what the origin held, and that shows the snapshot. */
  readonly store: string;
  /** Whether it is on its way back into its origin. */
  readonly merging: boolean;
}

export interface AreaEntry {
  /** Of a physical volume, or of a logical one where there is no physical one of that name. */
  readonly name: string;
  readonly extent: bigint;
}

const most = 2n ** 32n - 1n;
const count = { from: 0n, to: most };
const sectors = { from: 0n, to: 2n ** 53n };
const sector = BigInt(lvmSector);
/** LVM2 lib/misc/lvm-string.c: what may be in a name, and how long it may be with the other one beside it. */
const validName = /^(?!-)(?!\.{1,2}$)[A-Za-z0-9_.+-]{1,127}$/;
const contents = 'Text Format Volume Group';

/**
 * Reads the metadata text of a volume group.
 *
 * @param where the text is, for errors
 * @throws {DiskError} CORRUPT; UNSUPPORTED for another version
 */
export function readMetadata(text: string, where: string): GroupMetadata {
  const root = new Fields(parseConfigText(text, where), where);
  if (root.string('contents') !== contents) throw root.wrong('contents', JSON.stringify(contents));
  if (root.section.get('version') !== 1n) {
    const actual = String(root.section.get('version'));
    throw DiskError.unsupported({ structure: where, field: 'version', actual, expected: 1 });
  }
  const [group, ...others] = root.sections();
  if (group === undefined || others.length > 0) {
    const actual = group === undefined ? 'none' : 'several';
    throw DiskError.corrupt({ structure: where, field: 'volume groups', actual, expected: 'one' });
  }
  const [name, fields] = group;
  checkName(name, fields);
  const extentSize = fields.integer('extent_size', { from: 1n, to: most }) * sector;
  const physical = fields
    .sections('physical_volumes')
    .map(([key, pv]) => [key, readPhysical(key, pv, extentSize)] as const);
  return Object.freeze({
    name,
    uuid: fields.uuid('id'),
    seqno: fields.integer('seqno', count),
    extentSize,
    status: statusOf(fields),
    lockType: fields.optionalString('lock_type') ?? 'none',
    physicalVolumes: new Map(physical),
    logicalVolumes: new Map(fields.sections('logical_volumes').map(([key, lv]) => [key, readLogical(key, lv)])),
    section: fields.section,
    where,
  });
}

function checkName(name: string, { where }: Fields): void {
  if (validName.test(name)) return;
  const expected = 'at most 127 letters, digits, or one of _ . + -';
  throw DiskError.corrupt({ structure: where, field: 'name', actual: JSON.stringify(name.slice(0, 80)), expected });
}

/** `flags` are those that an older LVM2 may ignore; a reader that writes nothing counts them all. */
function statusOf(fields: Fields): readonly string[] {
  return [...fields.strings('status'), ...fields.strings('flags')];
}

function readPhysical(key: string, fields: Fields, extentSize: bigint): PhysicalVolumeEntry {
  const start = fields.integer('pe_start', sectors) * sector;
  const extents = fields.integer('pe_count', count);
  if (start + extents * extentSize >= 2n ** 63n) throw fields.wrong('pe_count', 'an end below 2^63 bytes');
  return {
    key,
    uuid: fields.uuid('id'),
    status: statusOf(fields),
    deviceSize: fields.section.has('dev_size') ? fields.integer('dev_size', sectors) * sector : 0n,
    start,
    extents,
  };
}

function readLogical(name: string, fields: Fields): LogicalVolumeEntry {
  checkName(name, fields);
  const segments = fields.sections().map(([, segment]) => readSegment(segment));
  const said = fields.integer('segment_count', count);
  if (said !== BigInt(segments.length)) throw fields.wrong('segment_count', `${segments.length}, as there are`);
  segments.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  let extents = 0n;
  for (const { start, extents: length } of segments) {
    if (start !== extents) throw fields.wrong('start_extent', `${extents}, where the segment before it ends`, start);
    extents += length;
  }
  return { name, uuid: fields.uuid('id'), status: statusOf(fields), segments, extents };
}

function readSegment(fields: Fields): SegmentEntry {
  const [type = '', ...flags] = fields.string('type').split('+');
  const plain = type === 'striped' || type === 'linear';
  const extents = fields.integer('extent_count', { from: 1n, to: most });
  const areas = plain ? readAreas(fields) : [];
  const round = BigInt(areas.length);
  if (round > 1n && extents % round !== 0n) throw fields.wrong('extent_count', `a multiple of ${round} stripes`);
  return {
    type,
    flags,
    start: fields.integer('start_extent', count),
    extents,
    stripeSize: round > 1n ? fields.integer('stripe_size', { from: 1n, to: most }) * sector : 0n,
    areas,
    names: namesIn(fields.section),
    snapshot: type === 'snapshot' ? readSnapshot(fields) : undefined,
  };
}

function readSnapshot(fields: Fields): SnapshotEntry {
  const merging = fields.section.has('merging_store');
  return { origin: fields.string('origin'), store: fields.string(merging ? 'merging_store' : 'cow_store'), merging };
}

/** Pairs of a volume and the extent in it where the stripe begins. */
function readAreas(fields: Fields): readonly AreaEntry[] {
  const stripes = fields.integer('stripe_count', { from: 1n, to: most });
  const list = fields.list('stripes');
  if (BigInt(list.length) !== stripes * 2n) throw fields.wrong('stripes', `${stripes} pairs of a name and an extent`);
  const areas: AreaEntry[] = [];
  for (let i = 0; i < list.length; i += 2) {
    const [name, extent] = list.slice(i, i + 2);
    if (typeof name !== 'string' || typeof extent !== 'bigint' || extent < 0n || extent > most) {
      throw fields.wrong('stripes', 'pairs of a name and an extent');
    }
    areas.push({ name, extent });
  }
  return areas;
}

/** Each string in a section and those in it, whatever its key: a key that is not known may name a volume as well. */
function namesIn(section: Section): string[] {
  return [...section].flatMap(([key, entry]) => {
    if (key === 'type' || key === 'tags') return [];
    if (isSection(entry)) return namesIn(entry);
    return [entry].flat().filter((value) => typeof value === 'string');
  });
}
