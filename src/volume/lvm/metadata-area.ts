import { toNumber } from '../../binary/convert.js';
import { rawCrc32 } from '../../binary/crc.js';
import { bytesOf, viewOf } from '../../binary/layout.js';
import type { Range } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import * as disk from './on-disk.js';

/** What a metadata area holds. */
export type MetadataArea =
  /** A physical volume that no volume group has written to. */
  | { readonly kind: 'empty' }
  /** LVM2 keeps no text up to date in it. */
  | { readonly kind: 'ignored' }
  | {
      readonly kind: 'text';
      readonly text: string;
      /** Where the text is, for errors. */
      readonly where: string;
      /** A change had been written beside it, and was neither made nor given up. */
      readonly unfinished: boolean;
    };

/**
 * Reads the text that counts in a metadata area of a physical volume.
 *
 * @param area where the header of the physical volume says that it is; in bytes
 * @throws {DiskError} CORRUPT, UNSUPPORTED when it is larger than any that disktool reads; IO, CANCELLED
 */
export async function readMetadataArea(
  device: BlockDevice,
  area: Range,
  options: RequestOptions = {},
): Promise<MetadataArea> {
  const place: Place = { structure: disk.mdaHeader.name, offset: area.offset, device: device.name };
  if (area.length < BigInt(disk.mdaHeader.size)) {
    const expected = `at least ${disk.mdaHeader.size} bytes`;
    throw DiskError.corrupt({ ...place, field: 'size', actual: area.length, expected });
  }
  if (area.offset + area.length > device.facts.size) {
    const expected = `an end within ${device.facts.size} bytes: the image may be cut short`;
    throw DiskError.corrupt({ ...place, field: 'end', actual: area.offset + area.length, expected });
  }
  const view = await readView(device, area.offset, disk.mdaHeader.size, options);
  const header = disk.mdaHeader.at(view);
  const refuse = (field: string, actual: string | bigint | number, expected: string | bigint | number) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  const crc = rawCrc32(disk.initialCrc, bytesOf(view).subarray(disk.mdaHeader.fields.magic.offset));
  if (header.checksum_xl !== crc) throw refuse('checksum_xl', header.checksum_xl, crc);
  if (header.magic !== disk.mdaMagic) throw refuse('magic', JSON.stringify(header.magic), disk.mdaMagic);
  if (header.version !== disk.mdaVersion) throw refuse('version', header.version, disk.mdaVersion);
  if (header.start !== area.offset) throw refuse('start', header.start, area.offset);
  if (header.size !== area.length) throw refuse('size', header.size, area.length);

  const locations = viewOf(header.raw_locns);
  const committed = disk.rawLocation.at(locations);
  const pending = disk.rawLocation.at(locations, disk.rawLocation.size);
  if ((committed.flags & disk.rawLocationIgnored) !== 0) return { kind: 'ignored' };
  if (committed.offset === 0n || committed.size === 0n) return { kind: 'empty' };
  const bytes = await readText(device, area, committed, options);
  const textCrc = rawCrc32(disk.initialCrc, bytes);
  const where = `LVM2 metadata text at byte ${hex(area.offset + committed.offset)} of ${device.name}`;
  if (textCrc !== committed.checksum) {
    const found = { structure: 'LVM2 metadata text', offset: area.offset + committed.offset, device: device.name };
    throw DiskError.corrupt({ ...found, field: 'checksum', actual: textCrc, expected: committed.checksum });
  }
  const end = bytes.indexOf(0);
  const text = Buffer.from(bytes.subarray(0, end === -1 ? bytes.length : end)).toString('utf8');
  const unfinished = pending.offset !== 0n && pending.size !== 0n && pending.offset !== committed.offset;
  return { kind: 'text', text, where, unfinished };
}

/** The text goes on behind the header where it passes the end of the area. */
async function readText(
  device: BlockDevice,
  area: Range,
  { offset, size }: { readonly offset: bigint; readonly size: bigint },
  options: RequestOptions,
): Promise<Uint8Array> {
  const place: Place = { structure: disk.rawLocation.name, offset: area.offset, device: device.name };
  const header = BigInt(disk.mdaHeader.size);
  if (offset < header || offset >= area.length) {
    const expected = `${header} to ${area.length - 1n}`;
    throw DiskError.corrupt({ ...place, field: 'offset', actual: offset, expected });
  }
  if (size > area.length - header) {
    throw DiskError.corrupt({ ...place, field: 'size', actual: size, expected: `at most ${area.length - header}` });
  }
  if (size > BigInt(disk.textLimit)) {
    throw DiskError.unsupported({ ...place, field: 'size', actual: size, expected: `at most ${disk.textLimit}` });
  }
  const inRow = offset + size > area.length ? area.length - offset : size;
  const first = await readView(device, area.offset + offset, toNumber(inRow), options);
  if (inRow === size) return bytesOf(first);
  const rest = await readView(device, area.offset + header, toNumber(size - inRow), options);
  return Buffer.concat([bytesOf(first), bytesOf(rest)]);
}
