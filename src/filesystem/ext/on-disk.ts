import { bit, flags } from '../../binary/bits.js';
import { bytes, layout, u8, u16, u32, u32s, u64 } from '../../binary/layout.js';

/** The structures of ext2, ext3 and ext4: the kernel's Documentation/filesystems/ext4, section named at each. */

/** Bytes from the start of the filesystem, whatever its block size. */
export const superblockOffset = 1024n;
export const superMagic = 0xef53;
/** s_state. */
export const stateFlags = flags('s_state', { VALID_FS: bit(0), ERROR_FS: bit(1), ORPHAN_FS: bit(2) });
/** s_flags: only this one matters here. */
export const superblockFlags = flags('s_flags', { TEST_FILESYS: bit(2) });
/** s_rev_level: the highest there is. */
export const dynamicRevision = 1;
/** s_checksum_type: the only one there is. */
export const checksumCrc32c = 1;
/** Bytes of an inode before s_rev_level 1. */
export const oldInodeSize = 128;
/** s_first_ino before s_rev_level 1: the inodes below are the filesystem's own. */
export const oldFirstInode = 11;

export const compat = flags('s_feature_compat', {
  dir_prealloc: bit(0),
  imagic_inodes: bit(1),
  has_journal: bit(2),
  ext_attr: bit(3),
  resize_inode: bit(4),
  dir_index: bit(5),
  lazy_bg: bit(6),
  exclude_inode: bit(7),
  exclude_bitmap: bit(8),
  sparse_super2: bit(9),
  fast_commit: bit(10),
  stable_inodes: bit(11),
  orphan_file: bit(12),
});

export const incompat = flags('s_feature_incompat', {
  compression: bit(0),
  filetype: bit(1),
  needs_recovery: bit(2),
  journal_dev: bit(3),
  meta_bg: bit(4),
  extent: bit(6),
  '64bit': bit(7),
  mmp: bit(8),
  flex_bg: bit(9),
  ea_inode: bit(10),
  dirdata: bit(12),
  metadata_csum_seed: bit(13),
  large_dir: bit(14),
  inline_data: bit(15),
  encrypt: bit(16),
  casefold: bit(17),
});

export const roCompat = flags('s_feature_ro_compat', {
  sparse_super: bit(0),
  large_file: bit(1),
  btree_dir: bit(2),
  huge_file: bit(3),
  uninit_bg: bit(4),
  dir_nlink: bit(5),
  extra_isize: bit(6),
  snapshot: bit(7),
  quota: bit(8),
  bigalloc: bit(9),
  metadata_csum: bit(10),
  replica: bit(11),
  'read-only': bit(12),
  project: bit(13),
  shared_blocks: bit(14),
  verity: bit(15),
  orphan_present: bit(16),
});

/** Super Block. */
export const extSuperblock = layout(
  'ext4_super_block',
  { size: 1024, endian: 'little', spec: 'Documentation/filesystems/ext4: Super Block' },
  {
    s_inodes_count: u32(0x0, 'inodes', 'in the whole filesystem'),
    s_blocks_count_lo: u32(0x4, 'blocks', 'in the whole filesystem, low 32 bits'),
    s_free_blocks_count_lo: u32(0xc, 'blocks', 'free, low 32 bits'),
    s_first_data_block: u32(0x14, 'block', 'first block of group 0'),
    s_log_block_size: u32(0x18, 'log2', 'block size is 2^(10 + this) bytes'),
    s_log_cluster_size: u32(0x1c, 'log2', 'cluster size is 2^(10 + this) bytes, with bigalloc'),
    s_blocks_per_group: u32(0x20, 'blocks', 'a group'),
    s_clusters_per_group: u32(0x24, 'clusters', 'a group, with bigalloc'),
    s_inodes_per_group: u32(0x28, 'inodes', 'a group'),
    s_magic: u16(0x38, 'magic', '0xEF53'),
    s_state: u16(0x3a, 'flags', 'unmounted in good order; errors seen; orphans being cleared'),
    s_rev_level: u32(0x4c, 'revision', '0: inodes of 128 bytes, no features; 1: the rest'),
    s_first_ino: u32(0x54, 'inode', 'first that is not reserved; 11 in revision 0'),
    s_inode_size: u16(0x58, 'bytes', 'an inode'),
    s_feature_compat: u32(0x5c, 'flags', 'whoever does not know them may write'),
    s_feature_incompat: u32(0x60, 'flags', 'whoever does not know them must not read'),
    s_feature_ro_compat: u32(0x64, 'flags', 'whoever does not know them may read'),
    s_uuid: bytes(0x68, 16, 'UUID', 'of the filesystem'),
    s_volume_name: bytes(0x78, 16, 'text', 'label'),
    s_reserved_gdt_blocks: u16(0xce, 'blocks', 'kept behind the descriptors for growth'),
    s_journal_inum: u32(0xe0, 'inode', 'of the journal; 0 when it lies elsewhere'),
    s_journal_dev: u32(0xe4, 'device number', 'of an external journal; 0 when there is none'),
    s_last_orphan: u32(0xe8, 'inode', 'first of the files that were deleted while open'),
    s_desc_size: u16(0xfe, 'bytes', 'a group descriptor, with 64bit'),
    s_first_meta_bg: u32(0x104, 'block group', 'first block of descriptors that is laid out by meta_bg'),
    s_blocks_count_hi: u32(0x150, 'blocks', 'in the whole filesystem, high 32 bits'),
    s_free_blocks_count_hi: u32(0x158, 'blocks', 'free, high 32 bits'),
    s_flags: u32(0x160, 'flags', 'of the directory hash, and of tests'),
    s_mmp_block: u64(0x168, 'block', 'of multiple mount protection'),
    s_checksum_type: u8(0x175, 'enum', '1: crc32c'),
    s_usr_quota_inum: u32(0x240, 'inode', "of users' quota; 0: none"),
    s_grp_quota_inum: u32(0x244, 'inode', "of groups' quota; 0: none"),
    s_backup_bgs: u32s(0x24c, 2, 'block groups', 'that hold a superblock copy, with sparse_super2'),
    s_prj_quota_inum: u32(0x26c, 'inode', "of projects' quota; 0: none"),
    s_checksum_seed: u32(0x270, 'crc32c', 'of the UUID, with metadata_csum_seed'),
    s_orphan_file_inum: u32(0x280, 'inode', 'of the list of files that were deleted while open; 0: none'),
    s_checksum: u32(0x3fc, 'crc32c', 'of the superblock before this field'),
  },
);

/** bg_flags. */
export const groupFlags = flags('bg_flags', { INODE_UNINIT: bit(0), BLOCK_UNINIT: bit(1), INODE_ZEROED: bit(2) });

/** Block Group Descriptors: the part that all of them have. */
export const extGroup = layout(
  'ext4_group_desc',
  { size: 32, endian: 'little', spec: 'Documentation/filesystems/ext4: Block Group Descriptors' },
  {
    bg_block_bitmap_lo: u32(0x0, 'block', 'of the block bitmap, low 32 bits'),
    bg_inode_bitmap_lo: u32(0x4, 'block', 'of the inode bitmap, low 32 bits'),
    bg_inode_table_lo: u32(0x8, 'block', 'first of the inode table, low 32 bits'),
    bg_free_blocks_count_lo: u16(0xc, 'clusters', 'free, low 16 bits'),
    bg_flags: u16(0x12, 'flags', 'what is not initialised yet'),
    bg_block_bitmap_csum_lo: u16(0x18, 'crc32c', 'of the block bitmap, low 16 bits'),
    bg_checksum: u16(0x1e, 'crc', 'of the descriptor'),
  },
);

/** Block Group Descriptors: the part behind it, when s_desc_size is 64 or more. */
export const extGroupHigh = layout(
  'ext4_group_desc (64bit)',
  { size: 32, endian: 'little', spec: 'Documentation/filesystems/ext4: Block Group Descriptors' },
  {
    bg_block_bitmap_hi: u32(0x0, 'block', 'of the block bitmap, high 32 bits'),
    bg_inode_bitmap_hi: u32(0x4, 'block', 'of the inode bitmap, high 32 bits'),
    bg_inode_table_hi: u32(0x8, 'block', 'first of the inode table, high 32 bits'),
    bg_free_blocks_count_hi: u16(0xc, 'clusters', 'free, high 16 bits'),
    bg_block_bitmap_csum_hi: u16(0x18, 'crc32c', 'of the block bitmap, high 16 bits'),
  },
);

/** Multiple Mount Protection. */
export const extMmp = layout(
  'mmp_struct',
  { size: 1024, endian: 'little', spec: 'Documentation/filesystems/ext4: Multiple Mount Protection' },
  {
    mmp_magic: u32(0x0, 'magic', '0x004D4D50'),
    mmp_seq: u32(0x4, 'sequence', 'mmpSeqClean when nobody has it mounted'),
    mmp_checksum: u32(0x3fc, 'crc32c', 'of what stands before it'),
  },
);
export const mmpMagic = 0x004d4d50;
export const mmpSeqClean = 0xff4d4d50;
export const mmpSeqFsck = 0xe24d4d50;
