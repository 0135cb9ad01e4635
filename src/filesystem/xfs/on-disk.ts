import { bit, flags } from '../../binary/bits.js';
import { bytes, layout, u8, u16, u32, u64 } from '../../binary/layout.js';

/**
 * The structures of XFS that say what is where: "XFS Algorithms & Data Structures", section named at each. All are
 * big-endian, but for the checksums: crc32c, little-endian, of the whole structure with zeros in the field's own place.
 */

const book = (section: string) => `XFS Algorithms & Data Structures: ${section}`;

/** Bytes: the unit of every disk address (xfs_daddr_t), of the log, and the smallest sector. */
export const basicBlock = 512;

export const superMagic = 0x5846_5342;
/** sb_versionnum: the number in its low bits, and the features of version 4. */
export const versionNumber = 0x000f;
export const versionFlags = flags('sb_versionnum', {
  ATTR: bit(4),
  NLINK: bit(5),
  QUOTA: bit(6),
  ALIGN: bit(7),
  DALIGN: bit(8),
  SHARED: bit(9),
  LOGV2: bit(10),
  SECTOR: bit(11),
  EXTFLG: bit(12),
  DIRV2: bit(13),
  BORG: bit(14),
  MOREBITS: bit(15),
});
export const features2 = flags('sb_features2', {
  LAZYSBCOUNT: bit(1),
  ATTR2: bit(3),
  PARENT: bit(4),
  PROJID32: bit(7),
  CRC: bit(8),
  FTYPE: bit(9),
});
export const roCompat = flags('sb_features_ro_compat', {
  FINOBT: bit(0),
  RMAPBT: bit(1),
  REFLINK: bit(2),
  INOBTCNT: bit(3),
});
export const incompat = flags('sb_features_incompat', {
  FTYPE: bit(0),
  SPINODES: bit(1),
  META_UUID: bit(2),
  BIGTIME: bit(3),
  NEEDSREPAIR: bit(4),
  NREXT64: bit(5),
  EXCHRANGE: bit(6),
  PARENT: bit(7),
  METADIR: bit(8),
  ZONED: bit(9),
  ZONE_GAPS: bit(10),
});
export const logIncompat = flags('sb_features_log_incompat', { XATTRS: bit(0) });

export const xfsSuperblock = layout(
  'xfs_dsb',
  { size: 264, endian: 'big', spec: book('Superblocks') },
  {
    sb_magicnum: u32(0, 'magic', '"XFSB"'),
    sb_blocksize: u32(4, 'bytes', 'a block'),
    sb_dblocks: u64(8, 'blocks', 'of the filesystem'),
    sb_rblocks: u64(16, 'blocks', 'of the realtime device'),
    sb_rextents: u64(24, 'extents', 'of the realtime device'),
    sb_uuid: bytes(32, 16, 'UUID', 'as users see it'),
    sb_logstart: u64(48, 'block', 'first of the log; 0 when it lies on another device'),
    sb_rootino: u64(56, 'inode', 'of the root directory'),
    sb_rbmino: u64(64, 'inode', 'of the realtime bitmap'),
    sb_rsumino: u64(72, 'inode', 'of the realtime summary'),
    sb_rextsize: u32(80, 'blocks', 'a realtime extent'),
    sb_agblocks: u32(84, 'blocks', 'an allocation group; the last may have fewer'),
    sb_agcount: u32(88, 'groups', 'in the filesystem'),
    sb_rbmblocks: u32(92, 'blocks', 'of the realtime bitmap'),
    sb_logblocks: u32(96, 'blocks', 'of the log'),
    sb_versionnum: u16(100, 'flags', 'version, and features of version 4'),
    sb_sectsize: u16(102, 'bytes', 'a sector'),
    sb_inodesize: u16(104, 'bytes', 'an inode'),
    sb_inopblock: u16(106, 'inodes', 'a block'),
    sb_fname: bytes(108, 12, 'text', 'label'),
    sb_blocklog: u8(120, 'log2', 'of sb_blocksize'),
    sb_sectlog: u8(121, 'log2', 'of sb_sectsize'),
    sb_inodelog: u8(122, 'log2', 'of sb_inodesize'),
    sb_inopblog: u8(123, 'log2', 'of sb_inopblock'),
    sb_agblklog: u8(124, 'log2', 'of sb_agblocks, rounded up'),
    sb_inprogress: u8(126, 'boolean', 'it is being made'),
    sb_icount: u64(128, 'inodes', 'allocated'),
    sb_ifree: u64(136, 'inodes', 'allocated and free'),
    sb_fdblocks: u64(144, 'blocks', 'free'),
    sb_frextents: u64(152, 'extents', 'free on the realtime device'),
    sb_uquotino: u64(160, 'inode', "of users' quota"),
    sb_gquotino: u64(168, 'inode', "of groups' quota"),
    sb_qflags: u16(176, 'flags', 'of quota'),
    sb_flags: u8(178, 'flags', 'of little meaning'),
    sb_shared_vn: u8(179, 'version', 'of shared filesystems; 0'),
    sb_inoalignmt: u32(180, 'blocks', 'that inode chunks are aligned to'),
    sb_dirblklog: u8(192, 'log2', 'of the blocks that a directory block has'),
    sb_logsectlog: u8(193, 'log2', 'of sb_logsectsize'),
    sb_logsectsize: u16(194, 'bytes', 'a sector of the log'),
    sb_logsunit: u32(196, 'bytes', 'that log records are aligned to'),
    sb_features2: u32(200, 'flags', 'more features of version 4'),
    sb_bad_features2: u32(204, 'flags', 'the same, where old kernels had it'),
    sb_features_compat: u32(208, 'flags', 'whoever does not know them may write'),
    sb_features_ro_compat: u32(212, 'flags', 'whoever does not know them may read'),
    sb_features_incompat: u32(216, 'flags', 'whoever does not know them must not read'),
    sb_features_log_incompat: u32(220, 'flags', 'whoever does not know them must not replay the log'),
    sb_crc: bytes(224, 4, 'crc32c', 'of the sector'),
    sb_spino_align: u32(228, 'blocks', 'that sparse inode chunks are aligned to'),
    sb_pquotino: u64(232, 'inode', "of projects' quota"),
    sb_lsn: u64(240, 'log sequence number', 'of its last change'),
    sb_meta_uuid: bytes(248, 16, 'UUID', 'in the metadata, with META_UUID'),
  },
);

/** Sectors at the start of each group: superblock, AG Free Space Block, AG Inode Management, AG Free List. */
export const headerSectors = 4;

/** AG Free Space Block: the second sector of each group. */
export const freeMagic = 0x5841_4746;
/** agf_versionnum, agi_versionnum. */
export const groupVersion = 1;
export const xfsAgf = layout(
  'xfs_agf',
  { size: 224, endian: 'big', spec: book('AG Free Space Block') },
  {
    agf_magicnum: u32(0, 'magic', '"XAGF"'),
    agf_versionnum: u32(4, 'version', '1'),
    agf_seqno: u32(8, 'group', 'its number'),
    agf_length: u32(12, 'blocks', 'in the group'),
    agf_bno_root: u32(16, 'block', 'root of the free space by block'),
    agf_cnt_root: u32(20, 'block', 'root of the free space by length'),
    agf_rmap_root: u32(24, 'block', 'root of the reverse map'),
    agf_bno_level: u32(28, 'levels', 'of the free space by block'),
    agf_cnt_level: u32(32, 'levels', 'of the free space by length'),
    agf_rmap_level: u32(36, 'levels', 'of the reverse map'),
    agf_flfirst: u32(40, 'index', 'first in use of the free list'),
    agf_fllast: u32(44, 'index', 'last in use of the free list'),
    agf_flcount: u32(48, 'blocks', 'in the free list'),
    agf_freeblks: u32(52, 'blocks', 'free, without the free list'),
    agf_longest: u32(56, 'blocks', 'of the longest free extent'),
    agf_btreeblks: u32(60, 'blocks', 'of the trees of free space but their roots'),
    agf_uuid: bytes(64, 16, 'UUID', 'of the filesystem'),
    agf_rmap_blocks: u32(80, 'blocks', 'of the reverse map'),
    agf_refcount_blocks: u32(84, 'blocks', 'of the reference counts'),
    agf_refcount_root: u32(88, 'block', 'root of the reference counts'),
    agf_refcount_level: u32(92, 'levels', 'of the reference counts'),
    agf_lsn: u64(208, 'log sequence number', 'of its last change'),
    agf_crc: bytes(216, 4, 'crc32c', 'of the sector'),
  },
);

/** AG Inode Management: the third sector. */
export const inodesMagic = 0x5841_4749;
export const xfsAgi = layout(
  'xfs_agi',
  { size: 344, endian: 'big', spec: book('AG Inode Management') },
  {
    agi_magicnum: u32(0, 'magic', '"XAGI"'),
    agi_versionnum: u32(4, 'version', '1'),
    agi_seqno: u32(8, 'group', 'its number'),
    agi_length: u32(12, 'blocks', 'in the group'),
    agi_count: u32(16, 'inodes', 'allocated'),
    agi_root: u32(20, 'block', 'root of the inodes'),
    agi_level: u32(24, 'levels', 'of the inodes'),
    agi_freecount: u32(28, 'inodes', 'allocated and free'),
    agi_uuid: bytes(296, 16, 'UUID', 'of the filesystem'),
    agi_crc: bytes(312, 4, 'crc32c', 'of the sector'),
    agi_lsn: u64(320, 'log sequence number', 'of its last change'),
    agi_free_root: u32(328, 'block', 'root of the free inodes, with FINOBT'),
    agi_free_level: u32(332, 'levels', 'of the free inodes, with FINOBT'),
  },
);

/** AG Free List: the fourth sector. Before version 5 the list has no header. */
export const freeListMagic = 0x5841_464c;
export const xfsAgfl = layout(
  'xfs_agfl',
  { size: 36, endian: 'big', spec: book('AG Free List') },
  {
    agfl_magicnum: u32(0, 'magic', '"XAFL"'),
    agfl_seqno: u32(4, 'group', 'its number'),
    agfl_uuid: bytes(8, 16, 'UUID', 'of the filesystem'),
    agfl_lsn: u64(24, 'log sequence number', 'of its last change'),
    agfl_crc: bytes(32, 4, 'crc32c', 'of the sector'),
  },
);

/** Short Format B+trees: the header of a block, whose numbers are of its group. */
export const shortHeader = layout(
  'xfs_btree_block_shdr',
  { size: 16, endian: 'big', spec: book('Short Format B+trees') },
  {
    bb_magic: u32(0, 'magic', 'of the tree'),
    bb_level: u16(4, 'level', '0: a leaf'),
    bb_numrecs: u16(6, 'records', 'in the block'),
    bb_leftsib: u32(8, 'block', 'before it on its level; noShortBlock: none'),
    bb_rightsib: u32(12, 'block', 'behind it on its level; noShortBlock: none'),
  },
);
/** The same of version 5. */
export const shortHeaderV5 = layout(
  'xfs_btree_block_shdr (v5)',
  { size: 56, endian: 'big', spec: book('Short Format B+trees') },
  {
    bb_blkno: u64(16, 'basic block', 'of the device where it lies'),
    bb_lsn: u64(24, 'log sequence number', 'of its last change'),
    bb_uuid: bytes(32, 16, 'UUID', 'of the filesystem'),
    bb_owner: u32(48, 'group', 'that it belongs to'),
    bb_crc: bytes(52, 4, 'crc32c', 'of the block'),
  },
);
/** NULLAGBLOCK. */
export const noShortBlock = 0xffff_ffff;
/** Levels: XFS_BTREE_MAXLEVELS. */
export const largestTreeHeight = 9;

/** AG Free Space B+trees: a record of a leaf, and a key of a node. */
export const freeExtent = layout(
  'xfs_alloc_rec',
  { size: 8, endian: 'big', spec: book('AG Free Space B+trees') },
  {
    ar_startblock: u32(0, 'block', 'first, in the group'),
    ar_blockcount: u32(4, 'blocks', 'that are free'),
  },
);

/** What the blocks of each tree begin with: before version 5, and since. */
export const treeMagics = {
  bno: [0x4142_5442, 0x4142_3342],
  cnt: [0x4142_5443, 0x4142_3343],
  ino: [0x4941_4254, 0x4941_4233],
  fino: [0x4649_4254, 0x4649_4233],
  rmap: [0, 0x524d_4233],
  refcount: [0, 0x5233_4643],
} as const;

/** Inode B+trees: the inodes of a chunk. */
export const inodeChunkSize = 64;
/** Inodes that a bit of ir_holemask stands for, with SPINODES. */
export const inodesPerHole = 4;
export const inodeChunk = layout(
  'xfs_inobt_rec',
  { size: 16, endian: 'big', spec: book('Inode B+trees') },
  {
    ir_startino: u32(0, 'inode', 'first of the chunk, in the group'),
    ir_holemask: u16(4, 'mask', 'what of the chunk is no inodes, with SPINODES'),
    ir_count: u8(6, 'inodes', 'in the chunk, with SPINODES'),
    ir_freecount: u8(7, 'inodes', 'of the chunk that are free'),
    ir_free: u64(8, 'mask', 'of the inodes that are free'),
  },
);

/** Reverse-Mapping B+tree: a record. All that is not free has one. */
export const reverseMapping = layout(
  'xfs_rmap_rec',
  { size: 24, endian: 'big', spec: book('Reverse-Mapping B+tree') },
  {
    rm_startblock: u32(0, 'block', 'first, in the group'),
    rm_blockcount: u32(4, 'blocks', 'that belong to the owner'),
  },
);

/** Reference Count B+tree: a record. */
export const sharedExtent = layout(
  'xfs_refcount_rec',
  { size: 12, endian: 'big', spec: book('Reference Count B+tree') },
  {
    rc_startblock: u32(0, 'block', 'first, in the group'),
    rc_blockcount: u32(4, 'blocks', 'that are shared'),
    rc_refcount: u32(8, 'owners', 'of each'),
  },
);
/** Added to rc_startblock of what is set aside for copies: XFS_REFC_COWFLAG. */
export const stagingFlag = 2 ** 31;
