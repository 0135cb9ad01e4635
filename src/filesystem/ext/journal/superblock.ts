import { rawCrc32c } from '../../../binary/crc.js';
import { bytesOf, type ViewOf } from '../../../binary/layout.js';
import { DiskError } from '../../../error/disk-error.js';
import { hex, type Place } from '../../../error/message.js';
import {
  blockTag,
  blockTag3,
  blockTagHigh,
  blockTail,
  blockType,
  checksumType,
  journalCompat,
  journalIncompat,
  journalMagic,
  journalRoCompat,
  journalSuperblock,
  tagPaddingV2,
  usualFastCommitBlocks,
} from './on-disk.js';

/** How the blocks of a journal vouch for themselves. */
export type JournalChecksum = 'none' | 'v1' | 'v2' | 'v3';

/** The checked facts of a journal. Blocks are counted from its start. */
export interface JournalSuperblock {
  /** Bytes. */
  readonly blockSize: number;
  /** The log is a ring: its first block, and the one behind its last. */
  readonly first: number;
  readonly last: number;
  /** The one behind the last of those that hold fast commits, which begin at `last`; `last` when there are none. */
  readonly fastCommitEnd: number;
  /** Where the log begins; 0 when it is empty. */
  readonly start: number;
  /** The transaction that begins there. */
  readonly sequence: number;
  readonly checksum: JournalChecksum;
  /** What crc32c begins with, with v2 and v3. */
  readonly checksumSeed: number;
  /** Whether block numbers have 64 bits. */
  readonly wide: boolean;
  /** Bytes of a tag of a descriptor, without its UUID. */
  readonly tagSize: number;
  /** Bytes at the end of descriptors and revocation blocks that hold their checksum. */
  readonly tailSize: number;
}

type Raw = ViewOf<typeof journalSuperblock>;

/**
 * Reads the first block of a journal.
 *
 * @param blocks that the journal's file has
 * @param blockSize of the filesystem, in bytes
 * @throws {DiskError} CORRUPT with the field that is wrong; UNSUPPORTED for a feature that is not known
 */
export function readJournalSuperblock(
  view: DataView,
  blocks: number,
  blockSize: number,
  place: Place,
): JournalSuperblock {
  const raw = journalSuperblock.at(view);
  const wrong = (field: keyof Raw, expected: string | number, actual: string | number = String(raw[field])) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  const range = (field: keyof Raw, value: number, low: number, high: number): number => {
    if (value < low || value > high) throw wrong(field, low === high ? low : `${low} to ${high}`, value);
    return value;
  };

  readStart(view, place);
  const { has, checksum, checksumSeed } = readFeatures(view, raw, place);
  range('s_blocksize', raw.s_blocksize, blockSize, blockSize);
  // The log has room for something.
  const length = range('s_maxlen', raw.s_maxlen, 3, blocks);
  const fastCommits = has('fast_commit') ? raw.s_num_fc_blks || usualFastCommitBlocks : 0;
  range('s_num_fc_blks', fastCommits, 0, length - 3);
  const last = length - fastCommits;
  const first = range('s_first', raw.s_first, 1, last - 2);
  const start = raw.s_start === 0 ? 0 : range('s_start', raw.s_start, first, last - 1);
  const wide = has('64bit');
  const byBlock = checksum === 'v2' || checksum === 'v3';
  const plainTag = blockTag.size + (wide ? blockTagHigh.size : 0) + (checksum === 'v2' ? tagPaddingV2 : 0);
  return Object.freeze({
    blockSize,
    first,
    last,
    fastCommitEnd: length,
    start,
    sequence: raw.s_sequence,
    checksum,
    checksumSeed,
    wide,
    tagSize: checksum === 'v3' ? blockTag3.size : plainTag,
    tailSize: byBlock ? blockTail.size : 0,
  });
}

/**
 * Where the log begins, 0 when it is empty: what a journal says of itself whatever its features.
 *
 * @throws {DiskError} CORRUPT when it is no journal, or whoever wrote it gave it up
 */
export function readStart(view: DataView, place: Place): number {
  const { h_magic: magic, h_blocktype: type, s_errno: errno, s_start: start } = journalSuperblock.at(view);
  if (magic !== journalMagic) {
    throw DiskError.corrupt({ ...place, field: 'h_magic', actual: hex(magic), expected: hex(journalMagic) });
  }
  if (type !== blockType.superblockV1 && type !== blockType.superblockV2) {
    const expected = `${blockType.superblockV1} or ${blockType.superblockV2}`;
    throw DiskError.corrupt({ ...place, field: 'h_blocktype', actual: type, expected });
  }
  if (errno !== 0) {
    throw DiskError.corrupt({ ...place, field: 's_errno', actual: errno, expected: '0: the journal was given up' });
  }
  return start;
}

type Incompat = keyof (typeof journalIncompat)['mask'];
const understood = ['revoke', '64bit', 'async_commit', 'csum_v2', 'csum_v3', 'fast_commit'] as const;

/** Version 1 has no features, and the fields that would hold them mean nothing. */
function readFeatures(view: DataView, raw: Raw, place: Place) {
  const none = raw.h_blocktype === blockType.superblockV1;
  const [compatible, incompatible] = none ? [0, 0] : [raw.s_feature_compat, raw.s_feature_incompat];
  const has = (name: Incompat) => journalIncompat.has(incompatible, name);
  const checks = (field: string, unknown: readonly string[]) => {
    if (unknown.length === 0) return;
    throw DiskError.unsupported({ ...place, field, actual: unknown.join(', '), expected: 'features that are known' });
  };
  checks('s_feature_incompat', journalIncompat.beyond(incompatible, understood));
  checks('s_feature_ro_compat', journalRoCompat.beyond(none ? 0 : raw.s_feature_ro_compat, []));
  checks('s_feature_compat', journalCompat.beyond(compatible, ['checksum']));
  if (!none && raw.s_nr_users > 1) {
    throw DiskError.unsupported({ ...place, field: 's_nr_users', actual: raw.s_nr_users, expected: 1 });
  }
  const kinds: JournalChecksum[] = [
    ...(journalCompat.has(compatible, 'checksum') ? ['v1' as const] : []),
    ...(has('csum_v2') ? ['v2' as const] : []),
    ...(has('csum_v3') ? ['v3' as const] : []),
  ];
  const [checksum = 'none', other] = kinds;
  if (other !== undefined) {
    const field = 's_feature_incompat';
    throw DiskError.corrupt({ ...place, field, actual: `checksums ${kinds.join(' and ')}`, expected: 'one of them' });
  }
  const checksumSeed = rawCrc32c(0xffff_ffff, raw.s_uuid);
  if (checksum === 'v2' || checksum === 'v3') checkChecksum(view, raw, place);
  return { has, checksum, checksumSeed };
}

function checkChecksum(view: DataView, raw: Raw, place: Place): void {
  if (raw.s_checksum_type !== checksumType.crc32c) {
    const expected = checksumType.crc32c;
    throw DiskError.corrupt({ ...place, field: 's_checksum_type', actual: raw.s_checksum_type, expected });
  }
  const { offset, size } = journalSuperblock.fields.s_checksum;
  const covered = bytesOf(view).subarray(0, journalSuperblock.size);
  const parts = [covered.subarray(0, offset), new Uint8Array(size), covered.subarray(offset + size)];
  const expected = parts.reduce(rawCrc32c, 0xffff_ffff);
  if (raw.s_checksum !== expected) {
    throw DiskError.corrupt({ ...place, field: 's_checksum', actual: hex(raw.s_checksum), expected: hex(expected) });
  }
}
