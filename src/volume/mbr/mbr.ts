import type { Range } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import type { Partition, SectorSize } from '../partition.js';
import type { Warnings } from '../warnings.js';
import type { BootRecord, BootRecordEntry } from './boot-record.js';
import { readLogicalDrives } from './extended.js';
import { masterBootRecord } from './on-disk.js';

/** The number of the first logical drive: 1 to 4 belong to the primaries, used or not. */
const firstLogical = 5;

/** The partitions of an MBR, and the bytes that the table itself takes. */
export async function readMbrPartitions(
  device: BlockDevice,
  record: BootRecord,
  sectorSize: SectorSize,
  warnings: Warnings,
  options: RequestOptions = {},
): Promise<{ partitions: Partition[]; table: Range[] }> {
  const asPartition = (entry: BootRecordEntry, number: number, role: Partition['role']): Partition => ({
    number,
    offset: entry.start,
    length: entry.length,
    type: `0x${entry.type.toString(16)}`,
    name: '',
    uuid: record.diskSignature === '' ? '' : `${record.diskSignature}-${number.toString(16).padStart(2, '0')}`,
    bootable: entry.bootable,
    role,
  });
  const length = BigInt(masterBootRecord.size);
  const table: Range[] = [{ offset: 0n, length }];
  const primaries: Partition[] = [];
  const logicals: Partition[] = [];
  for (const entry of record.entries) {
    primaries.push(asPartition(entry, entry.slot, entry.extended ? 'extended' : 'primary'));
    if (!entry.extended) continue;
    const { drives, records } = await readLogicalDrives(device, entry, sectorSize, warnings, options);
    for (const drive of drives) logicals.push(asPartition(drive, firstLogical + logicals.length, 'logical'));
    for (const offset of records) table.push({ offset, length });
  }
  return { partitions: [...primaries, ...logicals], table };
}
