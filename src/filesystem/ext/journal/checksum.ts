import { rawCrc32c } from '../../../binary/crc.js';
import { viewOf } from '../../../binary/layout.js';
import { DiskError } from '../../../error/disk-error.js';
import { hex, type Place } from '../../../error/message.js';
import { blockTail, commitHeader } from './on-disk.js';
import type { JournalSuperblock } from './superblock.js';

/** Checksums v2 and v3: a crc32c in each block of the log, and one of each block of data beside its tag. */

/** Whether blocks of this journal have such checksums at all. */
function hasBlockChecksums({ checksum }: JournalSuperblock): boolean {
  return checksum === 'v2' || checksum === 'v3';
}

/** Whether the last bytes of a descriptor or revocation block are its checksum, where it should have one. */
export function tailMatches(journal: JournalSuperblock, block: Uint8Array): boolean {
  if (!hasBlockChecksums(journal)) return true;
  const at = block.length - blockTail.size;
  return blockTail.at(viewOf(block), at).t_checksum === withoutField(journal, block, at, blockTail.size);
}

/** @throws {DiskError} CORRUPT when a commit block should have a checksum and has another */
export function checkCommit(journal: JournalSuperblock, block: Uint8Array, place: Place): void {
  if (!hasBlockChecksums(journal)) return;
  const { offset, size } = commitHeader.fields.h_chksum;
  const expected = withoutField(journal, block, offset, size);
  const { h_chksum: actual } = commitHeader.at(viewOf(block));
  if (actual !== expected) {
    throw DiskError.corrupt({ ...place, field: 'h_chksum', actual: hex(actual), expected: hex(expected) });
  }
}

/**
 * @param said what the tag of a block of data says: 16 bits with v2, 32 with v3
 * @param data as it lies in the log
 * @throws {DiskError} CORRUPT when it should be right and is not
 */
export function checkData(
  journal: JournalSuperblock,
  sequence: number,
  said: number,
  data: Uint8Array,
  place: Place,
): void {
  if (!hasBlockChecksums(journal)) return;
  const label = new Uint8Array(4);
  viewOf(label).setUint32(0, sequence);
  const crc = [label, data].reduce(rawCrc32c, journal.checksumSeed);
  const actual = journal.checksum === 'v2' ? crc & 0xffff : crc;
  if (actual !== said) {
    throw DiskError.corrupt({
      ...place,
      field: 'checksum',
      actual: hex(actual),
      expected: `${hex(said)}, as its tag has it`,
    });
  }
}

/** The crc32c of a block whose own field for it counts as zeros. */
function withoutField({ checksumSeed }: JournalSuperblock, block: Uint8Array, at: number, size: number): number {
  const parts = [block.subarray(0, at), new Uint8Array(size), block.subarray(at + size)];
  return parts.reduce(rawCrc32c, checksumSeed);
}
