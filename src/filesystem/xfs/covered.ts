import { viewOf } from '../../binary/layout.js';
import { type Log, type LogRecord, operationsOf } from './log.js';
import {
  bufferItem,
  bufferLog,
  littleEndianLog,
  operationFlags,
  transactionHeader,
  transactionMagic,
} from './log-on-disk.js';
import { basicBlock } from './on-disk.js';

/**
 * A log is covered when all that its recovery would do is to write the superblock as it stands: so the kernel leaves it
 * on purpose when a filesystem is frozen, or idle (xfs_log_cover). Then everything else is in its place.
 */

/** Records from the tail to the head: the kernel writes two. */
const mostRecords = 16;

/**
 * Whether all that lies between the tail of the log and its head are transactions of the superblock alone, which say of
 * it what the disk says, but for its counters.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function isCovered(log: Log, last: LogRecord, superblock: Uint8Array): Promise<boolean> {
  const records: LogRecord[] = [];
  for (let block = Number(last.tail & 0xffff_ffffn); ; ) {
    const record = block < log.length ? await log.recordAt(block) : undefined;
    if (record === undefined || records.length === mostRecords) return false;
    // A record of another round is none of those that recovery would go through.
    const before = records.at(-1)?.sequence;
    if (before === undefined ? record.sequence !== last.tail : record.sequence <= before) return false;
    records.push(record);
    if (record.block === last.block) break;
    block = record.next;
  }
  return records.every((record) => holdsOnly(record, superblock));
}

/** Whether a record has nothing but whole transactions of the superblock. */
function holdsOnly(record: LogRecord, superblock: Uint8Array): boolean {
  const operations = operationsOf(record);
  if (operations === undefined || record.format !== littleEndianLog) return false;
  let regions: Uint8Array[] | undefined;
  for (const { flags, region } of operations) {
    if (flags === operationFlags.mask.START) {
      if (regions !== undefined) return false;
      regions = region.length === 0 ? [] : [region];
    } else if (flags === operationFlags.mask.COMMIT) {
      if (regions === undefined || !changesNothing(regions, superblock)) return false;
      regions = undefined;
    } else if (flags !== 0 || regions === undefined) return false;
    else regions.push(region);
  }
  return regions === undefined;
}

/** Bytes of a buffer that a bit of its map stands for: XFS_BLF_CHUNK. */
const chunkSize = 128;

/** Whether a transaction would write what the superblock holds already. */
function changesNothing([header, ...regions]: readonly Uint8Array[], superblock: Uint8Array): boolean {
  if (header === undefined || header.length !== transactionHeader.size) return false;
  const { th_magic, th_num_items } = transactionHeader.at(viewOf(header));
  // Kernels before 2.6.39 counted items, later ones count regions.
  if (th_magic !== transactionMagic || (th_num_items !== 1 && th_num_items !== regions.length)) return false;
  const [item, ...data] = regions;
  if (item === undefined || item.length < bufferLog.size) return false;
  const view = viewOf(item);
  const { blf_type, blf_size, blf_flags, blf_len, blf_blkno, blf_map_size } = bufferLog.at(view);
  const isSuperblock = blf_type === bufferItem && blf_blkno === 0n && blf_len * basicBlock === superblock.length;
  // A buffer that was given up has no regions.
  const plain = (blf_flags & cancelled) === 0 && blf_size === regions.length;
  if (!isSuperblock || !plain || item.length < bufferLog.size + blf_map_size * 4) return false;
  const logged = Uint8Array.from(superblock);
  const left = [...data];
  const bit = (i: number) => (view.getUint32(bufferLog.size + (i >>> 5) * 4, true) >>> (i % 32)) & 1;
  for (let i = 0; i < blf_map_size * 32; ) {
    if (bit(i) === 0) {
      i++;
      continue;
    }
    let end = i;
    while (end < blf_map_size * 32 && bit(end) === 1) end++;
    const region = left.shift();
    if (region?.length !== (end - i) * chunkSize || end * chunkSize > logged.length) return false;
    logged.set(region, i * chunkSize);
    i = end;
  }
  return left.length === 0 && sameParts.every(([from, to]) => equal(logged, superblock, from, to));
}

/** XFS_BLF_CANCEL. */
const cancelled = 2;

/**
 * Bytes of a superblock that the kernel keeps as they are: all but its counters, and the checksum and the log sequence
 * number that it writes anew.
 */
const sameParts = [
  [0, 128],
  [160, 224],
  [228, 240],
  [248, 264],
] as const;

function equal(a: Uint8Array, b: Uint8Array, from: number, to: number): boolean {
  return Buffer.compare(a.subarray(from, to), b.subarray(from, to)) === 0;
}
