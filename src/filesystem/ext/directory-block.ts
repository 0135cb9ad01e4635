import { rawCrc32c } from '../../binary/crc.js';
import { bytesOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import {
  directoryEntry,
  directoryTail,
  directoryTailType,
  indexCount,
  indexEntrySize,
  indexPlaces,
  indexRoot,
  indexTail,
  inodeFlags,
  wholeBlockRecord,
} from './file-on-disk.js';
import type { Inode } from './inode.js';
import { compat, roCompat } from './on-disk.js';
import type { Superblock } from './superblock.js';

/** An entry as it lies on the disk: in use, and nothing more is known of it. */
export interface RawEntry {
  readonly name: Uint8Array;
  readonly inode: number;
}

/** Bytes: the length of an entry is a multiple of it. */
const alignment = 4;
/** Bytes: in blocks of this size, the length of an entry needs more than 16 bits. */
const wideBlock = 65_536;

/**
 * The entries in use of a part of a directory, in order. It ends: each is at least 12 bytes long.
 *
 * @param region what entries tile from `start` to its end
 * @throws {DiskError} CORRUPT when they do not
 */
export function* entriesIn(region: DataView, start: number, place: Place): Generator<RawEntry> {
  const bytes = bytesOf(region);
  const end = region.byteLength;
  for (let at = start; at < end; ) {
    const wrong = (field: string, actual: number, expected: string) =>
      DiskError.corrupt({ ...place, structure: `entry at ${at} of ${place.structure}`, field, actual, expected });
    if (at + directoryEntry.size > end) throw wrong('its place', at, `before ${end - directoryEntry.size}`);
    const { inode, rec_len, name_len: length } = directoryEntry.at(region, at);
    const record = recordLength(rec_len, end);
    const least = roundUp(directoryEntry.size + Math.max(length, 1));
    if (record < least || record % alignment !== 0 || at + record > end) {
      throw wrong('rec_len', record, `a multiple of ${alignment} from ${least} to ${end - at}`);
    }
    if (inode !== 0) {
      if (length === 0) throw wrong('name_len', 0, 'at least 1');
      const from = at + directoryEntry.size;
      yield { name: bytes.subarray(from, from + length), inode };
    }
    at += record;
  }
}

function roundUp(length: number): number {
  return Math.ceil(length / alignment) * alignment;
}

function recordLength(raw: number, blockSize: number): number {
  if (blockSize < wideBlock) return raw;
  if (raw === wholeBlockRecord || raw === 0) return blockSize;
  return (raw & ~3) | ((raw & 3) << 16);
}

/**
 * Verifies the checksum of a block of a directory: of entries behind them, of an index behind its entries.
 *
 * @param index which block of the directory it is
 * @throws {DiskError} CORRUPT
 */
export function checkDirectoryBlock(
  superblock: Superblock,
  inode: Inode,
  block: DataView,
  index: number,
  place: Place,
): void {
  if (!roCompat.has(superblock.roCompat, 'metadata_csum')) return;
  const indexed = compat.has(superblock.compat, 'dir_index') && inodeFlags.has(inode.flags, 'INDEX');
  const { rec_len } = directoryEntry.at(block);
  const size = block.byteLength;
  if (indexed && (index === 0 || recordLength(rec_len, size) === size)) checkIndexBlock(inode, block, place);
  else checkEntryBlock(inode, block, place);
}

function checkEntryBlock(inode: Inode, block: DataView, place: Place): void {
  const start = block.byteLength - directoryTail.size;
  const tail = directoryTail.at(block, start);
  const isTail =
    tail.det_reserved_zero1 === 0 &&
    tail.det_rec_len === directoryTail.size &&
    tail.det_reserved_zero2 === 0 &&
    tail.det_reserved_ft === directoryTailType;
  if (!isTail) {
    throw DiskError.corrupt({ ...place, field: 'its last 12 bytes', actual: 'no tail', expected: 'a checksum' });
  }
  const expected = rawCrc32c(inode.checksumSeed, bytesOf(block).subarray(0, start));
  checkSum(place, 'det_checksum', tail.det_checksum, expected);
}

function checkIndexBlock(inode: Inode, block: DataView, place: Place): void {
  const size = block.byteLength;
  const places = recordLength(directoryEntry.at(block).rec_len, size) === size ? node : root;
  const countAt = places(block, place);
  const { limit, count } = indexCount.at(block, countAt);
  const tailAt = countAt + limit * indexEntrySize;
  if (count > limit || tailAt + indexTail.size > size) {
    const most = Math.floor((size - indexTail.size - countAt) / indexEntrySize);
    throw DiskError.corrupt({ ...place, field: 'limit', actual: limit, expected: `${count} to ${most}` });
  }
  const bytes = bytesOf(block);
  const { offset, size: fieldSize } = indexTail.fields.dt_checksum;
  const expected = [
    bytes.subarray(0, countAt + count * indexEntrySize),
    bytes.subarray(tailAt, tailAt + offset),
    new Uint8Array(fieldSize),
  ].reduce(rawCrc32c, inode.checksumSeed);
  checkSum(place, 'dt_checksum', indexTail.at(block, tailAt).dt_checksum, expected);
}

/** @returns where the count is in a block that is all index */
function node(): number {
  return indexPlaces.countInNode;
}

/** @returns where it is behind `.` and `..` */
function root(block: DataView, place: Place): number {
  const info = indexRoot.at(block, indexPlaces.root);
  const dotDot = directoryEntry.at(block, indexPlaces.dotDotRecord);
  const fits =
    directoryEntry.at(block).rec_len === indexPlaces.dotDotRecord &&
    recordLength(dotDot.rec_len, block.byteLength) === block.byteLength - indexPlaces.dotDotRecord &&
    info.reserved_zero === 0 &&
    info.info_length === indexRoot.size;
  if (!fits) throw DiskError.corrupt({ ...place, structure: `index of ${place.structure}`, field: 'info_length' });
  return indexPlaces.countInRoot;
}

function checkSum(place: Place, field: string, actual: number, expected: number): void {
  if (actual !== expected) throw DiskError.corrupt({ ...place, field, actual: hex(actual), expected: hex(expected) });
}
