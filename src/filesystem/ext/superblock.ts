import { isPowerOfTwo } from '../../binary/bits.js';
import { toNumber } from '../../binary/convert.js';
import { rawCrc32c } from '../../binary/crc.js';
import type { ViewOf } from '../../binary/layout.js';
import { formatUuid } from '../../binary/uuid.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import { decodeText } from '../text.js';
import {
  checksumCrc32c,
  compat,
  dynamicRevision,
  extGroup,
  extGroupHigh,
  extSuperblock,
  incompat,
  oldFirstInode,
  oldInodeSize,
  roCompat,
  superblockFlags,
  superblockOffset,
  superMagic,
} from './on-disk.js';

/** The checked facts of an ext filesystem. Block numbers are below 2^53. */
export interface Superblock {
  readonly label: string;
  readonly uuid: string;
  /** Bytes. */
  readonly blockSize: number;
  /** Blocks; 1 without bigalloc. */
  readonly blocksPerCluster: number;
  readonly blockCount: number;
  readonly freeBlockCount: number;
  /** The first block of group 0: 1 where a block is as small as the boot sector's place, else 0. */
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  readonly groupCount: number;
  readonly inodesPerGroup: number;
  /** How many there can be: they are numbered from 1. */
  readonly inodeCount: number;
  /** The first that is not the filesystem's own. */
  readonly firstInode: number;
  /** Those of the filesystem's own that are not below `firstInode`: of quota, of orphans. */
  readonly ownInodes: readonly number[];
  /** Bytes. */
  readonly inodeSize: number;
  /** Bytes. */
  readonly descriptorSize: number;
  /** Blocks of descriptors before those that meta_bg lays out. */
  readonly firstMetaBlockGroup: number;
  readonly reservedDescriptorBlocks: number;
  /** The two groups with a superblock copy, with sparse_super2. */
  readonly backupGroups: readonly number[];
  readonly revision: number;
  readonly flags: number;
  readonly journalInode: number;
  /** 0 unless the journal is external. */
  readonly journalDevice: number;
  /** 0 without multiple mount protection. */
  readonly mmpBlock: number;
  readonly state: number;
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
  /** The UUID as it lies on the disk: crc16 checksums begin with it. */
  readonly uuidBytes: Uint8Array;
  /** What every crc32c of the metadata begins with. */
  readonly checksumSeed: number;
}

type Raw = ViewOf<typeof extSuperblock>;

/** Bits that an on-disk block bitmap has for every byte of its one block. */
const bitsPerByte = 8;
const largestLogBlockSize = 6;
const largestLogClusterSize = 20;
/** Bytes: EXT4_MAX_DESC_SIZE. */
const largestDescriptor = 1024;

/**
 * Reads and checks the primary superblock.
 *
 * @throws {DiskError} CORRUPT with the field that is wrong; UNSUPPORTED for a journal device
 */
export async function readSuperblock(device: BlockDevice, options: RequestOptions = {}): Promise<Superblock> {
  const place: Place = { structure: 'ext4 superblock', device: device.name, offset: superblockOffset };
  if (device.facts.size < superblockOffset + BigInt(extSuperblock.size)) {
    throw DiskError.corrupt({ ...place, field: 'device size', actual: device.facts.size, expected: 'at least 2048' });
  }
  const view = await readView(device, superblockOffset, extSuperblock.size, options);
  return check(view, place);
}

function check(view: DataView, place: Place): Superblock {
  const raw = extSuperblock.at(view);
  const wrong = (field: keyof Raw, expected: string | number, actual: string | number | bigint = String(raw[field])) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  const range = (field: keyof Raw & string, value: number, low: number, high: number): number => {
    if (value < low || value > high) throw wrong(field, low === high ? low : `${low} to ${high}`, value);
    return value;
  };

  if (raw.s_magic !== superMagic) throw wrong('s_magic', hex(superMagic), hex(raw.s_magic));
  // The kernel and e2fsprogs heed the features of revision 0 as well, which should have none.
  const {
    s_feature_compat: compatible,
    s_feature_incompat: incompatible,
    s_feature_ro_compat: readOnlyCompatible,
  } = raw;
  const dynamic = raw.s_rev_level >= dynamicRevision;
  const checksummed = roCompat.has(readOnlyCompatible, 'metadata_csum');
  if (checksummed) checkChecksum(view, raw, place);
  if (incompat.has(incompatible, 'journal_dev')) {
    throw DiskError.unsupported({
      ...place,
      field: 's_feature_incompat',
      actual: 'journal_dev',
      expected: 'a filesystem',
    });
  }

  const logBlockSize = range('s_log_block_size', raw.s_log_block_size, 0, largestLogBlockSize);
  const blockSize = 1024 << logBlockSize;
  const bigalloc = roCompat.has(readOnlyCompatible, 'bigalloc');
  const logClusterSize = bigalloc
    ? range('s_log_cluster_size', raw.s_log_cluster_size, logBlockSize, largestLogClusterSize)
    : logBlockSize;
  const blocksPerCluster = 2 ** (logClusterSize - logBlockSize);
  const first = logClusterSize === 0 ? 1 : 0;
  const firstDataBlock = range('s_first_data_block', raw.s_first_data_block, first, first);
  const bitsPerBitmap = bitsPerByte * blockSize;
  const clustersPerGroup = bigalloc
    ? range('s_clusters_per_group', raw.s_clusters_per_group, bitsPerByte, bitsPerBitmap)
    : raw.s_blocks_per_group;
  const blocksPerGroup = range(
    's_blocks_per_group',
    raw.s_blocks_per_group,
    bigalloc ? clustersPerGroup * blocksPerCluster : bitsPerByte,
    bigalloc ? clustersPerGroup * blocksPerCluster : bitsPerBitmap,
  );
  if (clustersPerGroup % 8 !== 0) {
    const field = bigalloc ? 's_clusters_per_group' : 's_blocks_per_group';
    throw wrong(field, 'a multiple of 8', clustersPerGroup);
  }

  const is64 = incompat.has(incompatible, '64bit');
  // Without 64bit, the kernel believes the high half and e2fsprogs does not.
  if (!is64) range('s_blocks_count_hi', raw.s_blocks_count_hi, 0, 0);
  const wide = (high: number, low: number) => (is64 ? (BigInt(high) << 32n) | BigInt(low) : BigInt(low));
  const blocks = wide(raw.s_blocks_count_hi, raw.s_blocks_count_lo);
  const blockCount = toNumber(blocks, { ...place, field: 's_blocks_count' });
  if (blockCount <= firstDataBlock) throw wrong('s_blocks_count_lo', `above ${firstDataBlock}`, blockCount);
  toNumber(blocks * BigInt(blockSize), { ...place, field: 's_blocks_count' });
  const freeBlocks = wide(raw.s_free_blocks_count_hi, raw.s_free_blocks_count_lo);
  const groupCount = Math.ceil((blockCount - firstDataBlock) / blocksPerGroup);
  const inodesPerGroup = range('s_inodes_per_group', raw.s_inodes_per_group, 1, bitsPerBitmap);
  if (inodesPerGroup * groupCount !== raw.s_inodes_count) {
    throw wrong('s_inodes_count', inodesPerGroup * groupCount, raw.s_inodes_count);
  }
  const firstInode = dynamic ? range('s_first_ino', raw.s_first_ino, oldFirstInode, raw.s_inodes_count) : oldFirstInode;
  const inodeSize = dynamic ? range('s_inode_size', raw.s_inode_size, oldInodeSize, blockSize) : oldInodeSize;
  if (!isPowerOfTwo(inodeSize)) throw wrong('s_inode_size', 'a power of two', inodeSize);
  const smallest = extGroup.size + extGroupHigh.size;
  const descriptorSize = is64 ? range('s_desc_size', raw.s_desc_size, smallest, largestDescriptor) : extGroup.size;
  if (!isPowerOfTwo(descriptorSize)) throw wrong('s_desc_size', 'a power of two', descriptorSize);
  const descriptorBlocks = Math.ceil(groupCount / (blockSize / descriptorSize));
  const metaBg = incompat.has(incompatible, 'meta_bg');
  const firstMetaBlockGroup = metaBg
    ? range('s_first_meta_bg', raw.s_first_meta_bg, 0, descriptorBlocks)
    : descriptorBlocks;
  const mmpBlock = incompat.has(incompatible, 'mmp')
    ? toNumber(raw.s_mmp_block, { ...place, field: 's_mmp_block' })
    : 0;
  if (mmpBlock !== 0 || incompat.has(incompatible, 'mmp')) {
    range('s_mmp_block', mmpBlock, firstDataBlock + 1, blockCount - 1);
  }

  const uuidBytes = Uint8Array.from(raw.s_uuid);
  const seeded = incompat.has(incompatible, 'metadata_csum_seed');
  return Object.freeze({
    label: decodeText(raw.s_volume_name),
    uuid: formatUuid(uuidBytes),
    blockSize,
    blocksPerCluster,
    blockCount,
    freeBlockCount: freeBlocks > blocks ? 0 : toNumber(freeBlocks),
    firstDataBlock,
    blocksPerGroup,
    groupCount,
    inodesPerGroup,
    inodeCount: raw.s_inodes_count,
    firstInode,
    ownInodes: ownInodesOf(raw),
    inodeSize,
    descriptorSize,
    firstMetaBlockGroup,
    reservedDescriptorBlocks: range('s_reserved_gdt_blocks', raw.s_reserved_gdt_blocks, 0, blockSize / 4),
    backupGroups: Object.freeze([...raw.s_backup_bgs]),
    revision: raw.s_rev_level,
    flags: raw.s_flags,
    journalInode: raw.s_journal_inum,
    journalDevice: raw.s_journal_dev,
    mmpBlock,
    state: raw.s_state,
    compat: compatible,
    incompat: incompatible,
    roCompat: readOnlyCompatible,
    uuidBytes,
    checksumSeed: seeded ? raw.s_checksum_seed : rawCrc32c(0xffff_ffff, uuidBytes),
  });
}

function checkChecksum(view: DataView, raw: Raw, place: Place): void {
  if (raw.s_checksum_type !== checksumCrc32c) {
    throw DiskError.corrupt({
      ...place,
      field: 's_checksum_type',
      actual: raw.s_checksum_type,
      expected: checksumCrc32c,
    });
  }
  const covered = new Uint8Array(view.buffer, view.byteOffset, extSuperblock.fields.s_checksum.offset);
  const expected = rawCrc32c(0xffff_ffff, covered);
  if (raw.s_checksum !== expected) {
    throw DiskError.corrupt({ ...place, field: 's_checksum', actual: hex(raw.s_checksum), expected: hex(expected) });
  }
}

function ownInodesOf(raw: Raw): readonly number[] {
  const quota = roCompat.has(raw.s_feature_ro_compat, 'quota')
    ? [raw.s_usr_quota_inum, raw.s_grp_quota_inum, raw.s_prj_quota_inum]
    : [];
  const orphans = compat.has(raw.s_feature_compat, 'orphan_file') ? [raw.s_orphan_file_inum] : [];
  return Object.freeze([...quota, ...orphans].filter((number) => number !== 0));
}

/** ext2, ext3 or ext4, by the features that each of them knows, as blkid tells them apart. */
export function typeOf(superblock: Superblock): 'ext2' | 'ext3' | 'ext4' | 'ext4dev' {
  if (superblockFlags.has(superblock.flags, 'TEST_FILESYS')) return 'ext4dev';
  const beyondExt3 = [
    ...incompat.beyond(superblock.incompat, ['filetype', 'needs_recovery', 'meta_bg']),
    ...roCompat.beyond(superblock.roCompat, ['sparse_super', 'large_file', 'btree_dir']),
  ];
  if (beyondExt3.length > 0) return 'ext4';
  return compat.has(superblock.compat, 'has_journal') ? 'ext3' : 'ext2';
}

/** The bytes of a number, for what is checksummed piece by piece. */
export function littleEndian32(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}
