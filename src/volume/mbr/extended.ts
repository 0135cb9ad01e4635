import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { hex } from '../../error/message.js';
import type { SectorSize } from '../partition.js';
import type { Warnings } from '../warnings.js';
import { type BootRecordEntry, readBootRecord } from './boot-record.js';
import { masterBootRecord } from './on-disk.js';

/** A logical drive; `start` of its entry is from the start of the disk. */
export interface LogicalDrive extends BootRecordEntry {
  /** Bytes from the start of the disk: the boot record that it stands in. */
  readonly bootRecord: bigint;
}

/** Records of one chain; Linux shows at most 256 partitions of a disk. */
export const chainLimit = 1024;

/**
 * Follows the chain of boot records of an extended partition by Linux's rules (block/partitions/msdos.c): the first
 * two entries are believed, the last two only when they lie inside (they may hold garbage); a drive's start is counted
 * from its own record, a link's from the extended partition. The records may lie in any order. Ends by itself, since no
 * record is read twice and there are at most {@link chainLimit}.
 *
 * @returns the drives in the order of the chain, and where each record lies
 */
export async function readLogicalDrives(
  device: BlockDevice,
  extended: BootRecordEntry,
  sectorSize: SectorSize,
  warnings: Warnings,
  options: RequestOptions = {},
): Promise<{ drives: LogicalDrive[]; records: bigint[] }> {
  const drives: LogicalDrive[] = [];
  const visited = new Set<bigint>();
  const what = `the chain of partition ${extended.slot}`;
  for (let at = extended.start, length = extended.length; ; ) {
    if (visited.has(at)) {
      warnings.add(`${what} loops back to byte ${hex(at)}: no logical drive is looked for beyond`);
      break;
    }
    if (visited.size === chainLimit) {
      warnings.add(`${what} has more than ${chainLimit} records: the rest is left out`);
      break;
    }
    if (at + BigInt(masterBootRecord.size) > device.facts.size) {
      warnings.add(`${what} leads to byte ${hex(at)}, past the end of the disk: no logical drive is looked for there`);
      break;
    }
    const record = readBootRecord(await readView(device, at, masterBootRecord.size, options), sectorSize);
    if (record === undefined) {
      // Nothing has been made yet in an extended partition whose very first record is missing.
      if (visited.size > 0) warnings.add(`${what} leads to byte ${hex(at)}, where there is no boot record`);
      break;
    }
    visited.add(at);
    for (const entry of record.entries) {
      if (entry.extended) continue;
      const drive = { ...entry, start: at + entry.start, bootRecord: at };
      if (entry.slot > 2 && !isInside(entry, drive, length, extended)) continue;
      drives.push(drive);
    }
    const link = record.entries.find((entry) => entry.extended);
    if (link === undefined) break;
    at = extended.start + link.start;
    length = link.length;
  }
  return { drives, records: [...visited] };
}

/** Within its own link, and within the extended partition. */
function isInside(entry: BootRecordEntry, drive: LogicalDrive, length: bigint, extended: BootRecordEntry): boolean {
  return entry.start + entry.length <= length && drive.start + drive.length <= extended.start + extended.length;
}
