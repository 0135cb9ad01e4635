import { bit, flags } from '../../binary/bits.js';
import { bytes, i32, layout, u16, u32 } from '../../binary/layout.js';
import type { FileType } from '../filesystem.js';

/**
 * The structures that make a file of ext2, ext3 and ext4: inodes, and what says where their blocks lie. The kernel's
 * Documentation/filesystems/ext4, section named at each.
 */

/** The inode of the root directory. */
export const rootInode = 2;

/** i_mode: the bits that say what it is, and what they can be. */
export const modeTypeMask = 0xf000;
export const modeTypes: ReadonlyMap<number, FileType> = new Map([
  [0x1000, 'fifo'],
  [0x2000, 'char'],
  [0x4000, 'directory'],
  [0x6000, 'block'],
  [0x8000, 'file'],
  [0xa000, 'symlink'],
  [0xc000, 'socket'],
]);

/** i_flags: those that change how the rest is read. */
export const inodeFlags = flags('i_flags', {
  COMPRBLK: bit(9),
  ENCRYPT: bit(11),
  INDEX: bit(12),
  HUGE_FILE: bit(18),
  EXTENTS: bit(19),
  VERITY: bit(20),
  EA_INODE: bit(21),
  INLINE_DATA: bit(28),
  CASEFOLD: bit(30),
});

/** Index Nodes: the part that all of them have. */
export const extInode = layout(
  'ext4_inode',
  { size: 128, endian: 'little', spec: 'Documentation/filesystems/ext4: Index Nodes' },
  {
    i_mode: u16(0x0, 'flags', 'type and permissions'),
    i_uid: u16(0x2, 'user', 'owner, low 16 bits'),
    i_size_lo: u32(0x4, 'bytes', 'size, low 32 bits'),
    i_atime: i32(0x8, 'seconds', 'last read, low 32 bits; of a value of an extended attribute: its hash'),
    i_ctime: i32(0xc, 'seconds', 'last change of the inode, low 32 bits'),
    i_mtime: i32(0x10, 'seconds', 'last write, low 32 bits'),
    i_dtime: u32(0x14, 'seconds', 'deletion; of an orphan: the next one'),
    i_gid: u16(0x18, 'group', 'low 16 bits'),
    i_links_count: u16(0x1a, 'names', '0: deleted; 1 of a directory: more than can be counted'),
    i_blocks_lo: u32(0x1c, '512 bytes', 'room it takes, low 32 bits; in blocks with HUGE_FILE'),
    i_flags: u32(0x20, 'flags', 'see inodeFlags'),
    i_block: bytes(0x28, 60, 'block map', 'block numbers, the root of an extent tree, or the content itself'),
    i_generation: u32(0x64, 'version', 'of this use of the inode'),
    i_file_acl_lo: u32(0x68, 'block', 'of extended attributes, low 32 bits; 0: none'),
    i_size_high: u32(0x6c, 'bytes', 'size, high 32 bits'),
    l_i_blocks_high: u16(0x74, '512 bytes', 'room it takes, high 16 bits, with huge_file'),
    l_i_file_acl_high: u16(0x76, 'block', 'of extended attributes, high 16 bits, with 64bit'),
    l_i_uid_high: u16(0x78, 'user', 'owner, high 16 bits'),
    l_i_gid_high: u16(0x7a, 'group', 'high 16 bits'),
    l_i_checksum_lo: u16(0x7c, 'crc32c', 'of number, generation and the whole inode, low 16 bits'),
  },
);

/** Index Nodes: the part behind it, as far as i_extra_isize reaches. */
export const extInodeExtra = layout(
  'ext4_inode (extra)',
  { size: 32, endian: 'little', spec: 'Documentation/filesystems/ext4: Index Nodes' },
  {
    i_extra_isize: u16(0x0, 'bytes', 'how many of these fields there are; attributes follow'),
    i_checksum_hi: u16(0x2, 'crc32c', 'of number, generation and the whole inode, high 16 bits'),
    i_ctime_extra: u32(0x4, 'time', 'bits 0-1: more seconds, in 2^32; the rest: nanoseconds'),
    i_mtime_extra: u32(0x8, 'time', 'as i_ctime_extra'),
    i_atime_extra: u32(0xc, 'time', 'as i_ctime_extra'),
    i_crtime: i32(0x10, 'seconds', 'creation, low 32 bits'),
    i_crtime_extra: u32(0x14, 'time', 'as i_ctime_extra'),
    i_version_hi: u32(0x18, 'version', 'high 32 bits'),
    i_projid: u32(0x1c, 'project', 'for quota'),
  },
);

/** Block numbers in i_block without extents: 12 of data, then one for each depth of blocks of block numbers. */
export const blockMap = { direct: 12, deepest: 3, pointerSize: 4 } as const;

export const extentMagic = 0xf30a;
/** eh_depth: as deep as 2^32 blocks need. */
export const largestExtentDepth = 5;
/** ee_len: above it, the blocks are unwritten, and as many as it says beyond it. */
export const largestWrittenExtent = 32_768;
/** Blocks that a file can have: logical block numbers have 32 bits. */
export const fileBlockLimit = 2 ** 32;

/** The head of a node of an extent tree. */
export const extentHeader = layout(
  'ext4_extent_header',
  { size: 12, endian: 'little', spec: 'Documentation/filesystems/ext4: Extent Tree' },
  {
    eh_magic: u16(0x0, 'magic', '0xF30A'),
    eh_entries: u16(0x2, 'entries', 'that follow'),
    eh_max: u16(0x4, 'entries', 'there is room for'),
    eh_depth: u16(0x6, 'levels', 'below this node; 0: the entries are extents'),
  },
);

/** An inner entry of an extent tree. */
export const extentIndex = layout(
  'ext4_extent_idx',
  { size: 12, endian: 'little', spec: 'Documentation/filesystems/ext4: Extent Tree' },
  {
    ei_block: u32(0x0, 'file block', 'the node covers blocks from this one on'),
    ei_leaf_lo: u32(0x4, 'block', 'of the node one level below, low 32 bits'),
    ei_leaf_hi: u16(0x8, 'block', 'of the node one level below, high 16 bits'),
  },
);

/** A leaf entry of an extent tree. */
export const extent = layout(
  'ext4_extent',
  { size: 12, endian: 'little', spec: 'Documentation/filesystems/ext4: Extent Tree' },
  {
    ee_block: u32(0x0, 'file block', 'first that it covers'),
    ee_len: u16(0x4, 'blocks', '1 to 32768 written ones; above, 32768 less, and unwritten: they read as zeros'),
    ee_start_hi: u16(0x6, 'block', 'first, high 16 bits'),
    ee_start_lo: u32(0x8, 'block', 'first, low 32 bits'),
  },
);

/** Behind the room for entries of a node in a block of its own. */
export const extentTail = layout(
  'ext4_extent_tail',
  { size: 4, endian: 'little', spec: 'Documentation/filesystems/ext4: Extent Tree' },
  { et_checksum: u32(0x0, 'crc32c', 'of the inode number, its generation and the node up to here') },
);
