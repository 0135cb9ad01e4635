import { rawCrc32 } from '../../binary/crc.js';
import { bytesOf } from '../../binary/layout.js';
import { type Range, RangeSet } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import * as disk from './on-disk.js';

/** The checked facts of the label and header of a physical volume. All numbers are bytes from the start of its device. */
export interface PhysicalVolumeHeader {
  /** As LVM2 writes it: seven groups, with dashes. */
  readonly uuid: string;
  /** What the device had when it was made or last resized. */
  readonly deviceSize: bigint;
  /** Where the extents begin; undefined when nothing says so. */
  readonly dataStart: bigint | undefined;
  readonly metadataAreas: readonly Range[];
  /** The sectors of the label, all metadata areas, the areas for boot loaders: they hold no extents. */
  readonly reserved: RangeSet;
  /** Whether a volume group says that it is one of its own. */
  readonly used: boolean;
}

/**
 * Reads the label of a physical volume of LVM2, and the header behind it.
 *
 * @throws {DiskError} CORRUPT when there is none that is sound, or more than one; UNSUPPORTED for a newer header; IO
 */
export async function readPhysicalVolume(
  device: BlockDevice,
  options: RequestOptions = {},
): Promise<PhysicalVolumeHeader> {
  const found: { header: PhysicalVolumeHeader; sector: number }[] = [];
  const flaws: DiskError[] = [];
  for (let sector = 0; sector < disk.labelSectors; sector++) {
    const offset = BigInt(sector * disk.lvmSector);
    if (offset + BigInt(disk.lvmSector) > device.facts.size) break;
    const view = await readView(device, offset, disk.lvmSector, options);
    if (disk.labelHeader.at(view).id !== disk.labelId) continue;
    try {
      found.push({ header: readLabel(view, sector, device), sector });
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      flaws.push(error);
    }
  }
  const [first, second] = found;
  if (first !== undefined && second === undefined && flaws.length === 0) return first.header;
  const place = { structure: disk.labelHeader.name, device: device.name, field: 'id' };
  if (first === undefined) throw flaws[0] ?? DiskError.corrupt({ ...place, actual: 'missing', expected: disk.labelId });
  const actual = `in more than one of the first ${disk.labelSectors} sectors`;
  throw DiskError.corrupt({ ...place, actual, expected: 'one label: pvck --dump headers shows them' });
}

function readLabel(view: DataView, sector: number, device: BlockDevice): PhysicalVolumeHeader {
  const offset = BigInt(sector * disk.lvmSector);
  const place: Place = { structure: disk.labelHeader.name, offset, device: device.name };
  const label = disk.labelHeader.at(view);
  const covered = bytesOf(view).subarray(disk.labelHeader.fields.offset_xl.offset);
  const crc = rawCrc32(disk.initialCrc, covered);
  if (label.crc_xl !== crc) throw DiskError.corrupt({ ...place, field: 'crc_xl', actual: label.crc_xl, expected: crc });
  if (label.type !== disk.labelType) {
    throw DiskError.unsupported({ ...place, field: 'type', actual: printed(label.type), expected: disk.labelType });
  }
  if (label.sector_xl !== BigInt(sector)) {
    throw DiskError.corrupt({ ...place, field: 'sector_xl', actual: label.sector_xl, expected: sector });
  }
  if (label.offset_xl < disk.labelHeader.size || label.offset_xl + disk.pvHeader.size > disk.lvmSector) {
    const expected = `${disk.labelHeader.size} to ${disk.lvmSector - disk.pvHeader.size}`;
    throw DiskError.corrupt({ ...place, field: 'offset_xl', actual: label.offset_xl, expected });
  }
  return readHeader(view, label.offset_xl, place);
}

function readHeader(view: DataView, base: number, label: Place): PhysicalVolumeHeader {
  const offset = (label.offset ?? 0n) + BigInt(base);
  const place: Place = { ...label, structure: disk.pvHeader.name, offset };
  const { pv_uuid, device_size_xl } = disk.pvHeader.at(view, base);
  if (!/^[A-Za-z0-9!#]{32}$/.test(pv_uuid)) {
    throw DiskError.corrupt({
      ...place,
      field: 'pv_uuid',
      actual: printed(pv_uuid),
      expected: '32 letters and digits',
    });
  }
  const data = readList(view, base + disk.pvHeader.size, 'data areas', place);
  const metadata = readList(view, data.end, 'metadata areas', place);
  const extension = readExtension(view, metadata.end, place);
  const labels = { offset: 0n, length: BigInt(disk.labelSectors * disk.lvmSector) };
  if (metadata.areas.length > disk.metadataAreasLimit) {
    const expected = `at most ${disk.metadataAreasLimit}`;
    throw DiskError.unsupported({ ...place, field: 'metadata areas', actual: metadata.areas.length, expected });
  }
  if (data.areas.length > 1) {
    throw DiskError.unsupported({ ...place, field: 'data areas', actual: data.areas.length, expected: 'one' });
  }
  return Object.freeze({
    uuid: dashed(pv_uuid),
    deviceSize: device_size_xl,
    dataStart: data.areas[0]?.offset,
    metadataAreas: metadata.areas,
    reserved: RangeSet.of([labels, ...metadata.areas, ...extension.areas]),
    used: extension.used,
  });
}

/** A list of areas in the sector of a label, up to its empty entry, and where the next thing begins. */
function readList(view: DataView, start: number, field: string, place: Place): { areas: Range[]; end: number } {
  const areas: Range[] = [];
  for (let at = start; at + disk.diskLocation.size <= view.byteLength; at += disk.diskLocation.size) {
    const { offset, size } = disk.diskLocation.at(view, at);
    if (offset === 0n) return { areas, end: at + disk.diskLocation.size };
    if (offset + size >= 2n ** 63n) {
      throw DiskError.corrupt({ ...place, field, actual: offset + size, expected: 'an end below 2^63' });
    }
    areas.push({ offset, length: size });
  }
  throw DiskError.corrupt({ ...place, field, actual: 'a list that passes the sector', expected: 'an empty entry' });
}

function readExtension(view: DataView, start: number, place: Place): { areas: readonly Range[]; used: boolean } {
  // Headers of LVM2 before 2.02.99 have none; where there is room for none, neither.
  if (start + disk.pvHeaderExtension.size > view.byteLength) return { areas: [], used: false };
  const { version, flags } = disk.pvHeaderExtension.at(view, start);
  if (version === disk.extensionVersion.none) return { areas: [], used: false };
  if (version > disk.extensionVersion.newest) {
    const expected = `at most ${disk.extensionVersion.newest}`;
    const structure = disk.pvHeaderExtension.name;
    throw DiskError.unsupported({ ...place, structure, field: 'version', actual: version, expected });
  }
  const { areas } = readList(view, start + disk.pvHeaderExtension.size, 'boot loader areas', place);
  return { areas, used: (flags & disk.pvExtUsed) !== 0 };
}

/** Six characters, five times four, six: as LVM2 writes a UUID. */
export function dashed(uuid: string): string {
  return uuid.replace(/^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/, '$1-$2-$3-$4-$5-$6-$7');
}

function printed(text: string): string {
  return JSON.stringify(text);
}
