import { crc32 } from '@node-rs/crc32';
import { viewOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import type { SectorSize } from '../partition.js';
import { guidText } from './guid.js';
import { gptEntry, gptHeader, gptSignature, largestArray } from './on-disk.js';

/** The checked facts of one copy's header; every place is in bytes from the start of the disk. */
export interface GptHeader {
  readonly sectorSize: SectorSize;
  /** Of this header. */
  readonly offset: bigint;
  /** Of the other copy's header; not checked. */
  readonly alternate: bigint;
  /** Half-open: what partitions may use. Not checked against the size of the disk, which may have been cut short. */
  readonly usableStart: bigint;
  readonly usableEnd: bigint;
  readonly diskGuid: string;
  /** Where the entries lie: inside the disk. */
  readonly entries: { readonly offset: bigint; readonly length: number; readonly count: number; readonly size: number };
  readonly entriesCrc32: number;
}

/**
 * Checks a header, in the order of its fields.
 *
 * @param sector the whole sector at `offset`
 * @param offset bytes from the start of the disk
 * @param disk its full name and bytes
 * @throws {DiskError} CORRUPT, naming the first field that is wrong
 */
export function readGptHeader(
  sector: DataView,
  offset: bigint,
  sectorSize: SectorSize,
  disk: { readonly name: string; readonly size: bigint },
): GptHeader {
  const raw = gptHeader.at(sector);
  const unit = BigInt(sectorSize);
  const demand = (sound: boolean, field: string, actual: Place['actual'], expected: Place['expected']) => {
    if (sound) return;
    throw DiskError.corrupt({ structure: gptHeader.name, offset, device: disk.name, field, actual, expected });
  };

  demand(raw.Signature === gptSignature, 'Signature', JSON.stringify(raw.Signature), JSON.stringify(gptSignature));
  const { HeaderSize } = raw;
  demand(
    HeaderSize >= gptHeader.size && HeaderSize <= sector.byteLength,
    'HeaderSize',
    HeaderSize,
    `${gptHeader.size} to ${sector.byteLength}`,
  );
  const checksum = checksumOf(sector, HeaderSize);
  demand(raw.HeaderCRC32 === checksum, 'HeaderCRC32', hex(raw.HeaderCRC32), hex(checksum));
  demand(raw.MyLBA * unit === offset, 'MyLBA', raw.MyLBA, offset / unit);
  demand(
    raw.LastUsableLBA >= raw.FirstUsableLBA,
    'LastUsableLBA',
    raw.LastUsableLBA,
    `at least ${raw.FirstUsableLBA}, which is FirstUsableLBA`,
  );
  const { SizeOfPartitionEntry: size, NumberOfPartitionEntries: count } = raw;
  const multiple = size / gptEntry.size;
  demand(
    multiple >= 1 && Number.isInteger(Math.log2(multiple)),
    'SizeOfPartitionEntry',
    size,
    `${gptEntry.size} times a power of two`,
  );
  const most = Math.floor(largestArray / size);
  demand(count >= 1 && count <= most, 'NumberOfPartitionEntries', count, `1 to ${most}`);
  const start = raw.PartitionEntryLBA * unit;
  const length = count * size;
  demand(
    start + BigInt(length) <= disk.size,
    'PartitionEntryLBA',
    raw.PartitionEntryLBA,
    `an array of ${length} bytes inside the disk of ${disk.size} bytes`,
  );
  return Object.freeze({
    sectorSize,
    offset,
    alternate: raw.AlternateLBA * unit,
    usableStart: raw.FirstUsableLBA * unit,
    usableEnd: (raw.LastUsableLBA + 1n) * unit,
    diskGuid: guidText(raw.DiskGUID),
    entries: Object.freeze({ offset: start, length, count, size }),
    entriesCrc32: raw.PartitionEntryArrayCRC32,
  });
}

/** Over the header as it stands, but with its own checksum as 0. */
function checksumOf(sector: DataView, length: number): number {
  const copy = Uint8Array.from(new Uint8Array(sector.buffer, sector.byteOffset, length));
  gptHeader.put(viewOf(copy), { HeaderCRC32: 0 });
  return crc32(copy);
}
