import { isPowerOfTwo } from '../../binary/bits.js';
import { toNumber } from '../../binary/convert.js';
import { bytesOf, type ViewOf } from '../../binary/layout.js';
import { formatUuid } from '../../binary/uuid.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import { decodeText } from '../text.js';
import { checkCrc } from './checksum.js';
import { features2, incompat, roCompat, superMagic, versionFlags, versionNumber, xfsSuperblock } from './on-disk.js';

/** The checked facts of an XFS filesystem. Block numbers are below 2^53. */
export interface Superblock {
  readonly label: string;
  readonly uuid: string;
  /** What every structure of version 5 names. */
  readonly metaUuid: Uint8Array;
  /** 4, or 5: with checksums. */
  readonly version: 4 | 5;
  /** Bytes. */
  readonly blockSize: number;
  readonly blockCount: number;
  readonly freeBlockCount: number;
  /** Blocks. */
  readonly groupSize: number;
  readonly groupCount: number;
  /** Bits of the number of a block that say which of its group it is. */
  readonly groupBits: number;
  /** Bytes. */
  readonly sectorSize: number;
  /** Bytes. */
  readonly inodeSize: number;
  /** Bits of the number of an inode that say which of its block it is. */
  readonly inodeBits: number;
  readonly rootInode: bigint;
  /** Bytes. */
  readonly directoryBlockSize: number;
  /** Blocks that chunks of inodes are aligned to. */
  readonly inodeAlignment: number;
  readonly quotaInodes: readonly bigint[];
  /** Of the realtime bitmap and its summary: they are there without a realtime device. */
  readonly realtimeInodes: readonly bigint[];
  readonly log: {
    /** As a number of a block of the filesystem; 0: on another device. */
    readonly start: bigint;
    /** Blocks. */
    readonly length: number;
    /** 1, or 2: with records above 32 KiB. */
    readonly version: 1 | 2;
  };
  /** Whether there is, or may be, a realtime device. */
  readonly realtime: boolean;
  readonly inProgress: boolean;
  readonly versionFlags: number;
  readonly features2: number;
  readonly roCompat: number;
  readonly incompat: number;
  readonly logIncompat: number;
  /** As it lies on the disk. */
  readonly raw: Uint8Array;
}

type Raw = ViewOf<typeof xfsSuperblock>;

/** Bytes. */
const blockSizes = { smallest: 512, largest: 65_536 };
const sectorSizes = { smallest: 512, largest: 32_768 };
const inodeSizes = { smallest: 256, largest: 2048 };
/** Blocks: XFS_MIN_AG_BLOCKS, of every group. */
const smallestGroup = 64;
/** Blocks: XFS_MIN_LOG_BLOCKS. */
const smallestLog = 512;
/** Bytes: XFS_MAX_AG_BYTES. */
const largestGroup = 2 ** 40;
/** Bytes. */
const largestDirectoryBlock = 65_536;

/**
 * Reads and checks the primary superblock.
 *
 * @throws {DiskError} CORRUPT with the field that is wrong; UNSUPPORTED for a version before 4
 */
export async function readSuperblock(device: BlockDevice, options: RequestOptions = {}): Promise<Superblock> {
  const place: Place = { structure: 'XFS superblock', device: device.name, offset: 0n };
  if (device.facts.size < BigInt(sectorSizes.smallest)) {
    throw DiskError.corrupt({ ...place, field: 'device size', actual: device.facts.size, expected: 'at least 512' });
  }
  const first = xfsSuperblock.at(await readView(device, 0n, xfsSuperblock.size, options));
  if (first.sb_magicnum !== superMagic) {
    throw DiskError.corrupt({
      ...place,
      field: 'sb_magicnum',
      actual: hex(first.sb_magicnum),
      expected: hex(superMagic),
    });
  }
  const { sb_sectsize: sector } = first;
  const { smallest, largest } = sectorSizes;
  if (!isPowerOfTwo(sector) || sector < smallest || sector > largest || BigInt(sector) > device.facts.size) {
    const expected = `a power of two, ${smallest} to ${largest}`;
    throw DiskError.corrupt({ ...place, field: 'sb_sectsize', actual: sector, expected });
  }
  return check(await readView(device, 0n, sector, options), place);
}

function check(view: DataView, place: Place): Superblock {
  const raw = xfsSuperblock.at(view);
  const wrong = (field: keyof Raw, expected: string | number, actual: string | number | bigint = String(raw[field])) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  const range = (field: keyof Raw & string, value: number, low: number, high: number): number => {
    if (value < low || value > high) throw wrong(field, low === high ? low : `${low} to ${high}`, value);
    return value;
  };
  const size = (field: keyof Raw & string, value: number, { smallest, largest }: typeof blockSizes): number => {
    if (!isPowerOfTwo(range(field, value, smallest, largest))) throw wrong(field, 'a power of two', value);
    return value;
  };

  const version = raw.sb_versionnum & versionNumber;
  if (version !== 4 && version !== 5) {
    throw DiskError.unsupported({ ...place, field: 'sb_versionnum', actual: version, expected: 'version 4 or 5' });
  }
  if (version === 5) checkCrc(bytesOf(view), xfsSuperblock.fields.sb_crc.offset, { ...place, field: 'sb_crc' });

  const blockSize = size('sb_blocksize', raw.sb_blocksize, blockSizes);
  const log2 = (field: keyof Raw & string, value: number, of: number) =>
    range(field, value, Math.log2(of), Math.log2(of));
  log2('sb_blocklog', raw.sb_blocklog, blockSize);
  const sectorSize = size('sb_sectsize', raw.sb_sectsize, {
    ...sectorSizes,
    largest: Math.min(sectorSizes.largest, blockSize),
  });
  log2('sb_sectlog', raw.sb_sectlog, sectorSize);
  const inodeSize = size('sb_inodesize', raw.sb_inodesize, {
    ...inodeSizes,
    largest: Math.min(inodeSizes.largest, blockSize),
  });
  log2('sb_inodelog', raw.sb_inodelog, inodeSize);
  const inodesPerBlock = range('sb_inopblock', raw.sb_inopblock, blockSize / inodeSize, blockSize / inodeSize);
  log2('sb_inopblog', raw.sb_inopblog, inodesPerBlock);

  const blockCount = toNumber(raw.sb_dblocks, { ...place, field: 'sb_dblocks' });
  toNumber(raw.sb_dblocks * BigInt(blockSize), { ...place, field: 'sb_dblocks' });
  const largest = Math.min(largestGroup / blockSize, 2 ** 31);
  const groupSize = range('sb_agblocks', raw.sb_agblocks, smallestGroup, largest);
  const groupCount = raw.sb_agcount;
  const groups = Math.ceil(blockCount / groupSize);
  if (groupCount === 0 || groupCount !== groups) throw wrong('sb_agcount', `${groups}, by sb_dblocks`, groupCount);
  const groupBits = Math.ceil(Math.log2(groupSize));
  range('sb_agblklog', raw.sb_agblklog, groupBits, groupBits);
  const directoryBlockSize = blockSize * 2 ** range('sb_dirblklog', raw.sb_dirblklog, 0, 16 - Math.log2(blockSize));
  if (directoryBlockSize > largestDirectoryBlock) throw wrong('sb_dirblklog', 'blocks of at most 64 KiB');

  const flagged = raw.sb_versionnum & ~versionNumber;
  const uuid = Uint8Array.from(raw.sb_uuid);
  const metaUuid =
    version === 5 && incompat.has(raw.sb_features_incompat, 'META_UUID') ? Uint8Array.from(raw.sb_meta_uuid) : uuid;
  const logVersion: 1 | 2 = version === 5 || versionFlags.has(flagged, 'LOGV2') ? 2 : 1;
  const last = blockCount - (groupCount - 1) * groupSize;
  if (last < smallestGroup) throw wrong('sb_dblocks', `a last group of at least ${smallestGroup} blocks`, blockCount);
  if (raw.sb_logstart !== 0n) range('sb_logblocks', raw.sb_logblocks, smallestLog, groupSize);
  const inodes = (...numbers: readonly bigint[]) => numbers.filter((number) => number !== 0n && number !== noInode);
  return Object.freeze({
    label: decodeText(raw.sb_fname),
    uuid: formatUuid(uuid),
    metaUuid,
    version,
    blockSize,
    blockCount,
    freeBlockCount: raw.sb_fdblocks > raw.sb_dblocks ? 0 : toNumber(raw.sb_fdblocks),
    groupSize,
    groupCount,
    groupBits,
    sectorSize,
    inodeSize,
    inodeBits: raw.sb_inopblog,
    rootInode: raw.sb_rootino,
    directoryBlockSize,
    inodeAlignment: raw.sb_inoalignmt,
    quotaInodes: inodes(raw.sb_uquotino, raw.sb_gquotino, version === 5 ? raw.sb_pquotino : 0n),
    realtimeInodes: inodes(raw.sb_rbmino, raw.sb_rsumino),
    log: {
      start: raw.sb_logstart,
      length: raw.sb_logblocks,
      version: logVersion,
    },
    realtime: raw.sb_rblocks !== 0n || raw.sb_rextents !== 0n,
    inProgress: raw.sb_inprogress !== 0,
    versionFlags: flagged,
    features2: raw.sb_features2,
    roCompat: version === 5 ? raw.sb_features_ro_compat : 0,
    incompat: version === 5 ? raw.sb_features_incompat : 0,
    logIncompat: version === 5 ? raw.sb_features_log_incompat : 0,
    raw: Uint8Array.from(bytesOf(view)),
  });
}

/** NULLFSINO. */
const noInode = 2n ** 64n - 1n;

/** Whether there is a tree of free inodes beside that of all. */
export function hasFreeInodeTree({ roCompat: features }: Superblock): boolean {
  return roCompat.has(features, 'FINOBT');
}

/** Whether the entries of directories tell what they lead to. */
export function hasFileTypes(superblock: Superblock): boolean {
  return superblock.version === 5
    ? incompat.has(superblock.incompat, 'FTYPE')
    : versionFlags.has(superblock.versionFlags, 'MOREBITS') && features2.has(superblock.features2, 'FTYPE');
}
