import { crc32Be } from '../../../binary/crc.js';
import { type ViewOf, viewOf } from '../../../binary/layout.js';
import { DiskError } from '../../../error/disk-error.js';
import { hex, type Place } from '../../../error/message.js';
import { checkCommit, checkData } from './checksum.js';
import type { JournalFile } from './journal-file.js';
import { checksumType, commitHeader, crc32Size, tagFlags } from './on-disk.js';
import { blockBehind, type Committed, type Part } from './scan.js';
import type { JournalSuperblock } from './superblock.js';
import { readRevoked, readTags, type Tag } from './tags.js';

const knownFlags = tagFlags.mask.escape | tagFlags.mask.same_uuid | tagFlags.mask.last_tag;

/** Blocks that a replay writes or revokes at once, at most: four times the largest journal of mke2fs. */
const largestReplay = 2 ** 20;

/** What a transaction does, checked. */
export interface Changes {
  /** In the order of the log. */
  readonly writes: readonly Write[];
  /** Blocks of the filesystem that nothing up to this transaction may be written to. */
  readonly revoked: readonly number[];
}

/** A block of the filesystem that becomes what the log has. */
export interface Write {
  /** Of the filesystem. */
  readonly block: number;
  /** Of the journal. */
  readonly from: number;
  /** Its first four bytes are the journal's magic number, and lie in the log as zeros. */
  readonly escaped: boolean;
}

/**
 * Reads what a committed transaction does. All of its blocks were on the disk before its commit block was written: what
 * is wrong with one of them is damage.
 *
 * @throws {DiskError} CORRUPT when a checksum is wrong, a block lies where no transaction writes, or a tag means nothing
 * to us; IO, CANCELLED
 */
export async function readTransaction(
  file: JournalFile,
  journal: JournalSuperblock,
  committed: Committed,
): Promise<Changes> {
  const { blocks } = file;
  const commit = await blocks.read(committed.commit);
  const place = blocks.place('jbd2 commit block', committed.commit);
  checkCommit(journal, commit, place);
  const writes: Write[] = [];
  const revoked: number[] = [];
  let crc = 0xffff_ffff;
  for (const part of committed.parts) {
    refuseTooMany(Math.max(writes.length, revoked.length), place);
    const bytes = await blocks.read(part.at);
    if (part.kind === 'revoke') {
      for (const block of revokedBlocks(file, journal, bytes, part)) revoked.push(block);
      continue;
    }
    if (journal.checksum === 'v1') crc = crc32Be(crc, bytes);
    for (const [i, tag] of readTags(journal, bytes).entries()) {
      const from = blockBehind(journal, part.at, i + 1);
      writes.push(checkTag(file, tag, from, { ...blocks.place('jbd2 descriptor block', part.at), field: `tag ${i}` }));
      if (journal.checksum === 'none') continue;
      const data = await blocks.read(from);
      if (journal.checksum === 'v1') crc = crc32Be(crc, data);
      checkData(journal, committed.sequence, tag.checksum, data, blocks.place('jbd2 data block', from));
    }
  }
  if (journal.checksum === 'v1') checkCommitV1(commitHeader.at(viewOf(commit)), crc, place);
  return { writes, revoked };
}

/** @param place of the tag, which is its field */
function checkTag(file: JournalFile, { flags, block }: Tag, from: number, place: Place): Write {
  if ((flags & ~knownFlags) !== 0) {
    const actual = `flagged ${tagFlags.names(flags).join(', ')} (${hex(flags)})`;
    throw DiskError.corrupt({ ...place, actual, expected: 'flags that are in use' });
  }
  const target = file.checkTarget(block, { ...place, field: `block of ${place.field}` });
  return { block: target, from, escaped: tagFlags.has(flags, 'escape') };
}

function revokedBlocks(file: JournalFile, journal: JournalSuperblock, bytes: Uint8Array, { at }: Part): number[] {
  const place = file.blocks.place('jbd2 revocation block', at);
  const revoked = readRevoked(journal, bytes);
  if (revoked === undefined) throw DiskError.corrupt({ ...place, field: 'r_count' });
  return revoked.map((block) => file.checkTarget(block, { ...place, field: 'revoked block' }));
}

/**
 * What is kept of a replay is in memory.
 *
 * @throws {DiskError} UNSUPPORTED
 */
export function refuseTooMany(count: number, place: Place): void {
  if (count <= largestReplay) return;
  const expected = `at most ${largestReplay}`;
  throw DiskError.unsupported({ ...place, field: 'blocks to be written', actual: count, expected });
}

/** Checksum v1 is a crc32 of all descriptors and data blocks, in the order of the log; some commit blocks have none. */
function checkCommitV1(commit: ViewOf<typeof commitHeader>, crc: number, place: Place): void {
  const { h_chksum_type: type, h_chksum_size: size, h_chksum: actual } = commit;
  if (type === checksumType.none && size === 0 && actual === 0) return;
  if (type !== checksumType.crc32 || size !== crc32Size) {
    const expected = `${checksumType.crc32} of ${crc32Size} bytes`;
    throw DiskError.corrupt({ ...place, field: 'h_chksum_type', actual: `${type} of ${size} bytes`, expected });
  }
  if (actual !== crc) {
    throw DiskError.corrupt({ ...place, field: 'h_chksum', actual: hex(actual), expected: hex(crc) });
  }
}
