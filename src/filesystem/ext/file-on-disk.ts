import { bit, flags } from '../../binary/bits.js';
import { bytes, i32, layout, u8, u16, u32 } from '../../binary/layout.js';

/**
 * The structures that make a file of ext2, ext3 and ext4: inodes, and what says where their blocks lie. The kernel's
 * Documentation/filesystems/ext4, section named at each.
 */

/** The inode of the root directory. */
export const rootInode = 2;

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

/** Bytes of an inode that hold content, or entries, with INLINE_DATA: all of i_block; what is more is an attribute. */
export const inlineSize = 60;
/** In the i_block of a directory with INLINE_DATA, the inode of the directory above stands before the entries. */
export const inlineParentSize = 4;

/** The head of an entry of a directory; the name follows. */
export const directoryEntry = layout(
  'ext4_dir_entry_2',
  { size: 8, endian: 'little', spec: 'Documentation/filesystems/ext4: Linear (Classic) Directories' },
  {
    inode: u32(0x0, 'inode', '0: unused'),
    rec_len: u16(0x4, 'bytes', 'to the next entry; in blocks of 64 KiB, bits 0-1 are bits 16-17'),
    name_len: u8(0x6, 'bytes', 'of the name'),
    file_type: u8(0x7, 'enum', 'of the file; 0xDE in a tail'),
  },
);
/** rec_len: in blocks of 64 KiB, a whole block. */
export const wholeBlockRecord = 65_535;

/** At the end of a block of entries, disguised as an entry, with metadata_csum. */
export const directoryTail = layout(
  'ext4_dir_entry_tail',
  { size: 12, endian: 'little', spec: 'Documentation/filesystems/ext4: Linear (Classic) Directories' },
  {
    det_reserved_zero1: u32(0x0, 'inode', '0'),
    det_rec_len: u16(0x4, 'bytes', '12'),
    det_reserved_zero2: u8(0x6, 'bytes', '0'),
    det_reserved_ft: u8(0x7, 'enum', '0xDE'),
    det_checksum: u32(0x8, 'crc32c', 'of the inode number, its generation and the block before the tail'),
  },
);
export const directoryTailType = 0xde;

/** Behind `.` and `..` in the first block of a directory with an index. */
export const indexRoot = layout(
  'dx_root_info',
  { size: 8, endian: 'little', spec: 'Documentation/filesystems/ext4: Hash Tree Directories' },
  {
    reserved_zero: u32(0x0, '', '0'),
    hash_version: u8(0x4, 'enum', 'of the hash of names'),
    info_length: u8(0x5, 'bytes', '8: of this structure'),
    indirect_levels: u8(0x6, 'levels', 'of index blocks below this one'),
    unused_flags: u8(0x7, 'flags', ''),
  },
);
/** Where dx_root_info lies, and where dx_countlimit does in the first block and in the others of an index. */
export const indexPlaces = { root: 24, countInRoot: 32, countInNode: 8, dotDotRecord: 12 } as const;

/** Before the entries of an index block, in the place of the first entry's hash. */
export const indexCount = layout(
  'dx_countlimit',
  { size: 4, endian: 'little', spec: 'Documentation/filesystems/ext4: Hash Tree Directories' },
  {
    limit: u16(0x0, 'entries', 'there is room for, this one included'),
    count: u16(0x2, 'entries', 'there are, this one included'),
  },
);
/** Bytes of an entry of an index block. */
export const indexEntrySize = 8;

/** Behind the room for entries of an index block, with metadata_csum. */
export const indexTail = layout(
  'dx_tail',
  { size: 8, endian: 'little', spec: 'Documentation/filesystems/ext4: Hash Tree Directories' },
  {
    dt_reserved: u32(0x0, '', 'counted in the checksum'),
    dt_checksum: u32(0x4, 'crc32c', 'of the inode number, its generation and the block up to the last entry'),
  },
);

export const xattrMagic = 0xea02_0000;
/** Bytes of h_magic before the entries in an inode. */
export const xattrInodeHeaderSize = 4;
/** Bytes: EXT4_XATTR_SIZE_MAX. */
export const largestXattr = 1 << 24;

/** The head of a block of extended attributes. */
export const xattrHeader = layout(
  'ext4_xattr_header',
  { size: 32, endian: 'little', spec: 'Documentation/filesystems/ext4: Extended Attributes' },
  {
    h_magic: u32(0x0, 'magic', '0xEA020000'),
    h_refcount: u32(0x4, 'inodes', 'that share this block'),
    h_blocks: u32(0x8, 'blocks', '1'),
    h_hash: u32(0xc, 'hash', 'of all entries'),
    h_checksum: u32(0x10, 'crc32c', 'of the block number and the block, this field as zero'),
  },
);

/** The head of an extended attribute; the name follows. */
export const xattrEntry = layout(
  'ext4_xattr_entry',
  { size: 16, endian: 'little', spec: 'Documentation/filesystems/ext4: Extended Attributes' },
  {
    e_name_len: u8(0x0, 'bytes', 'of the name; 0 with all that precedes e_value_inum: the end of the list'),
    e_name_index: u8(0x1, 'enum', 'what stands before the name'),
    e_value_offs: u16(0x2, 'bytes', 'of the value, from the first entry in an inode, else from the start of the block'),
    e_value_inum: u32(0x4, 'inode', 'whose content is the value, with ea_inode; else 0'),
    e_value_size: u32(0x8, 'bytes', 'of the value'),
    e_hash: u32(0xc, 'hash', 'of name and value'),
  },
);

/** e_name_index: what stands before the name. Those that are not here are the filesystem's own. */
export const xattrPrefixes: ReadonlyMap<number, string> = new Map([
  [1, 'user.'],
  [2, 'system.posix_acl_access'],
  [3, 'system.posix_acl_default'],
  [4, 'trusted.'],
  [6, 'security.'],
  [10, 'gnu.'],
]);
/** The attributes that are access lists, kept in a form of their own. */
export const xattrAcls: ReadonlySet<number> = new Set([2, 3]);
/** e_name_index and name of the content that does not fit into i_block. */
export const inlineXattr = { index: 7, name: 'data' } as const;

/** The head of an access list on the disk. Its entries: `aclEntry` without an id, and with one for a named user or group. */
export const aclHeader = layout(
  'ext4_acl_header',
  { size: 4, endian: 'little', spec: 'fs/ext4/acl.h' },
  { a_version: u32(0x0, 'version', '1') },
);
export const aclVersion = 1;
export const aclEntry = layout(
  'ext4_acl_entry_short',
  { size: 4, endian: 'little', spec: 'fs/ext4/acl.h' },
  { e_tag: u16(0x0, 'enum', 'whom it is for'), e_perm: u16(0x2, 'flags', 'read, write, execute') },
);

/** i_block of a character or block device: the number in the old form, or 0 and then in the new one. */
export const deviceNumber = layout(
  'i_block of a device',
  { size: 8, endian: 'little', spec: 'linux/kdev_t.h: old_decode_dev, new_decode_dev' },
  {
    old: u32(0x0, 'device number', 'bits 0-7: minor, bits 8-15: major; 0: see the other'),
    new: u32(0x4, 'device number', 'bits 0-7 and 20-31: minor, bits 8-19: major'),
  },
);
