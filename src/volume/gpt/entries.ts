import { crc32 } from '@node-rs/crc32';
import { isZero } from '../../binary/zeros.js';
import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import type { Partition } from '../partition.js';
import type { Warnings } from '../warnings.js';
import { guidText } from './guid.js';
import type { GptHeader } from './header.js';
import { gptEntry, legacyBiosBootable } from './on-disk.js';

const largestEnd = 2n ** 63n - 1n;

/**
 * Checks the array of entries as a whole.
 *
 * @throws {DiskError} CORRUPT when it is not what its header says
 */
export function checkEntries(array: DataView, header: GptHeader, device: string): void {
  const checksum = crc32(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  if (checksum === header.entriesCrc32) return;
  throw DiskError.corrupt({
    structure: 'GPT entries',
    offset: header.entries.offset,
    device,
    field: 'crc32',
    actual: hex(checksum),
    expected: `${hex(header.entriesCrc32)}, which is PartitionEntryArrayCRC32 of their header`,
  });
}

/** The entries in use, numbered by their places. */
export function readEntries(array: DataView, header: GptHeader, warnings: Warnings): Partition[] {
  const unit = BigInt(header.sectorSize);
  const partitions: Partition[] = [];
  for (let i = 0; i < header.entries.count; i++) {
    const raw = gptEntry.at(array, i * header.entries.size);
    if (isZero(raw.PartitionTypeGUID)) continue;
    const number = i + 1;
    const end = (raw.EndingLBA + 1n) * unit;
    if (raw.EndingLBA < raw.StartingLBA || end > largestEnd) {
      warnings.add(
        `partition ${number} is left out: it is said to run from sector ${raw.StartingLBA} to ${raw.EndingLBA}`,
      );
      continue;
    }
    const offset = raw.StartingLBA * unit;
    partitions.push({
      number,
      offset,
      length: end - offset,
      type: guidText(raw.PartitionTypeGUID),
      name: nameOf(raw.PartitionName),
      uuid: guidText(raw.UniquePartitionGUID),
      bootable: (raw.Attributes & legacyBiosBootable) !== 0n,
      role: 'primary',
    });
  }
  return partitions;
}

const utf16 = new TextDecoder('utf-16le', { ignoreBOM: true });

function nameOf(units: Uint8Array): string {
  // Half a surrogate pair becomes a replacement character.
  const text = utf16.decode(units);
  const end = text.indexOf('\0');
  return end === -1 ? text : text.slice(0, end);
}
