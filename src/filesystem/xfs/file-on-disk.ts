import { bit, flags } from '../../binary/bits.js';
import { bytes, layout, u8, u16, u32, u64 } from '../../binary/layout.js';

/** The structures of XFS that make files: "XFS Algorithms & Data Structures", section named at each. */

const book = (section: string) => `XFS Algorithms & Data Structures: ${section}`;

export const inodeMagic = 0x494e;
/** di_format, di_aformat: where a fork lies. */
export const forkFormats = ['device', 'local', 'extents', 'btree'] as const;
export type ForkFormat = (typeof forkFormats)[number];
export const inodeFlags = flags('di_flags', { REALTIME: bit(0) });
/** di_flags2: its low 32 bits. */
export const inodeFlags2 = flags('di_flags2', {
  DAX: bit(0),
  REFLINK: bit(1),
  COWEXTSIZE: bit(2),
  BIGTIME: bit(3),
  NREXT64: bit(4),
});

/** Inode Core: what all versions have. Of a time, seconds and nanoseconds, or with BIGTIME nanoseconds as one number. */
export const inodeCore = layout(
  'xfs_dinode',
  { size: 100, endian: 'big', spec: book('Inode Core') },
  {
    di_magic: u16(0, 'magic', '"IN"'),
    di_mode: u16(2, 'mode', 'type and permissions'),
    di_version: u8(4, 'version', '1 and 2: of version 4; 3: of version 5'),
    di_format: u8(5, 'enum', 'where its data fork lies'),
    di_onlink: u16(6, 'links', 'in version 1'),
    di_uid: u32(8, 'user', 'who owns it'),
    di_gid: u32(12, 'group', 'that owns it'),
    di_nlink: u32(16, 'links', 'from version 2 on'),
    di_big_nextents: u64(24, 'extents', 'of the data fork, with NREXT64'),
    di_atime: u64(32, 'time', 'last read'),
    di_mtime: u64(40, 'time', 'last written'),
    di_ctime: u64(48, 'time', 'last changed'),
    di_size: u64(56, 'bytes', 'of content'),
    di_nblocks: u64(64, 'blocks', 'that it has'),
    di_nextents: u32(76, 'extents', 'of the data fork; of the attribute fork, with NREXT64'),
    di_anextents: u16(80, 'extents', 'of the attribute fork'),
    di_forkoff: u8(82, '8 bytes', 'from the data fork to the attribute fork; 0: there is none'),
    di_aformat: u8(83, 'enum', 'where its attribute fork lies'),
    di_flags: u16(90, 'flags', 'of the inode'),
  },
);
/** The same of version 3. */
export const inodeCoreV3 = layout(
  'xfs_dinode (v3)',
  { size: 176, endian: 'big', spec: book('Inode Core') },
  {
    di_crc: bytes(100, 4, 'crc32c', 'of the inode'),
    di_flags2: u64(120, 'flags', 'more of them'),
    di_crtime: u64(144, 'time', 'created'),
    di_ino: u64(152, 'inode', 'its number'),
    di_uuid: bytes(160, 16, 'UUID', 'of the filesystem'),
  },
);
/** Seconds from 1970 back to where BIGTIME begins. */
export const bigtimeEpoch = 2n ** 31n;

/** Data Extents: a record of 128 bits; from the highest: unwritten, block of the file, block of the device, count. */
export const extentRecordSize = 16;
export const extentBits = { count: 21n, block: 52n, fileBlock: 54n };

/** B+tree Extent List: the root in a fork, keys and pointers behind it. */
export const treeRoot = layout(
  'xfs_bmdr_block',
  { size: 4, endian: 'big', spec: book('B+tree Extent List') },
  {
    bb_level: u16(0, 'level', 'above the leaves'),
    bb_numrecs: u16(2, 'records', 'in the root'),
  },
);
/** Bytes of a key, and of a pointer. */
export const treeKeySize = 8;
export const treePointerSize = 8;
/** Before version 5, and since. */
export const extentTreeMagics = [0x424d_4150, 0x424d_4133] as const;
/** Long Format B+trees: the header of a block, whose numbers are of the filesystem. */
export const longHeader = layout(
  'xfs_btree_block_lhdr',
  { size: 24, endian: 'big', spec: book('Long Format B+trees') },
  {
    bb_magic: u32(0, 'magic', 'of the tree'),
    bb_level: u16(4, 'level', '0: a leaf'),
    bb_numrecs: u16(6, 'records', 'in the block'),
    bb_leftsib: u64(8, 'block', 'before it on its level; noLongBlock: none'),
    bb_rightsib: u64(16, 'block', 'behind it on its level; noLongBlock: none'),
  },
);
/** The same of version 5. */
export const longHeaderV5 = layout(
  'xfs_btree_block_lhdr (v5)',
  { size: 72, endian: 'big', spec: book('Long Format B+trees') },
  {
    bb_blkno: u64(24, 'basic block', 'of the device where it lies'),
    bb_uuid: bytes(40, 16, 'UUID', 'of the filesystem'),
    bb_owner: u64(56, 'inode', 'that it belongs to'),
    bb_crc: bytes(64, 4, 'crc32c', 'of the block'),
  },
);
/** NULLFSBLOCK. */
export const noLongBlock = 2n ** 64n - 1n;

/** Directories: bytes of a directory before its entries end, and the index begins. */
export const directoryIndex = 2n ** 35n;
/** Shortform Directories. */
export const shortDirectory = layout(
  'xfs_dir2_sf_hdr',
  { size: 2, endian: 'big', spec: book('Shortform Directories') },
  {
    count: u8(0, 'entries', 'but "." and ".."'),
    i8count: u8(1, 'entries', 'whose inodes take 8 bytes: then all do; 0: 4 bytes'),
  },
);
/** Block Directories, Leaf Directories: the first word of a block of entries, before version 5 and since. */
export const directoryMagics = { block: [0x5844_3242, 0x5844_4233], data: [0x5844_3244, 0x5844_4433] } as const;
/** Bytes before the entries, likewise. */
export const directoryHeaderSizes = [16, 64] as const;
/** The header of a block of version 5. */
export const directoryHeader = layout(
  'xfs_dir3_blk_hdr',
  { size: 48, endian: 'big', spec: book('Block Directories') },
  {
    magic: u32(0, 'magic', 'of the kind of block'),
    crc: bytes(4, 4, 'crc32c', 'of the block'),
    blkno: u64(8, 'basic block', 'of the device where it lies'),
    uuid: bytes(24, 16, 'UUID', 'of the filesystem'),
    owner: u64(40, 'inode', 'of the directory'),
  },
);
/** What the only block of a directory ends with, its index before it. */
export const directoryTail = layout(
  'xfs_dir2_block_tail',
  { size: 8, endian: 'big', spec: book('Block Directories') },
  {
    count: u32(0, 'entries', 'of the index'),
    stale: u32(4, 'entries', 'of the index without use'),
  },
);
/** Bytes of an entry of the index. */
export const directoryLeafEntry = 8;
/** What an unused part begins with. */
export const unusedTag = 0xffff;
/** Bytes: entries begin at multiples of it. */
export const directoryAlignment = 8;

/** Shortform Attributes. */
export const shortAttributes = layout(
  'xfs_attr_sf_hdr',
  { size: 4, endian: 'big', spec: book('Shortform Attributes') },
  {
    totsize: u16(0, 'bytes', 'of all, with this'),
    count: u8(2, 'attributes', 'that follow'),
  },
);
export const shortAttribute = layout(
  'xfs_attr_sf_entry',
  { size: 3, endian: 'big', spec: book('Shortform Attributes') },
  {
    namelen: u8(0, 'bytes', 'of the name, which follows'),
    valuelen: u8(1, 'bytes', 'of the value, which follows that'),
    flags: u8(2, 'flags', 'of the attribute'),
  },
);
export const attributeFlags = flags('attribute flags', {
  LOCAL: bit(0),
  ROOT: bit(1),
  SECURE: bit(2),
  PARENT: bit(3),
  INCOMPLETE: bit(7),
});
/** Before version 5, and since: blocks of attributes, and of the tree above them. */
export const attributeMagics = { leaf: [0xfbee, 0x3bee], node: [0xfebe, 0x3ebe] } as const;
/** Leaf Attributes: what blocks of attributes and those above them begin with. */
export const attributeBlock = layout(
  'xfs_da_blkinfo',
  { size: 12, endian: 'big', spec: book('Leaf Attributes') },
  {
    forw: u32(0, 'block', 'of the fork behind it on its level; 0: none'),
    back: u32(4, 'block', 'of the fork before it on its level; 0: none'),
    magic: u16(8, 'magic', 'of the kind of block'),
  },
);
/** The same of version 5. */
export const attributeBlockV5 = layout(
  'xfs_da3_blkinfo',
  { size: 56, endian: 'big', spec: book('Leaf Attributes') },
  {
    crc: bytes(12, 4, 'crc32c', 'of the block'),
    blkno: u64(16, 'basic block', 'of the device where it lies'),
    uuid: bytes(32, 16, 'UUID', 'of the filesystem'),
    owner: u64(48, 'inode', 'that it belongs to'),
  },
);
/** Bytes from the start of a block to its count of entries (u16), and to the entries: before version 5, and since. */
export const attributeLeaf = { count: [12, 56], entries: [32, 80] } as const;
export const attributeNode = { count: [12, 56], level: [14, 58], entries: [16, 64] } as const;
export const attributeEntry = layout(
  'xfs_attr_leaf_entry',
  { size: 8, endian: 'big', spec: book('Leaf Attributes') },
  {
    hashval: u32(0, 'hash', 'of the name'),
    nameidx: u16(4, 'bytes', 'from the start of the block to the name'),
    flags: u8(6, 'flags', 'of the attribute'),
  },
);
export const attributeLocal = layout(
  'xfs_attr_leaf_name_local',
  { size: 3, endian: 'big', spec: book('Leaf Attributes') },
  {
    valuelen: u16(0, 'bytes', 'of the value, behind the name'),
    namelen: u8(2, 'bytes', 'of the name, which follows'),
  },
);
export const attributeRemote = layout(
  'xfs_attr_leaf_name_remote',
  { size: 9, endian: 'big', spec: book('Leaf Attributes') },
  {
    valueblk: u32(0, 'block', 'of the fork where the value begins'),
    valuelen: u32(4, 'bytes', 'of the value'),
    namelen: u8(8, 'bytes', 'of the name, which follows'),
  },
);
/** Bytes: XFS_XATTR_SIZE_MAX, and the levels of a tree of attributes: XFS_DA_NODE_MAXDEPTH. */
export const largestAttribute = 65_536;
export const largestAttributeDepth = 5;

/** Remote Attribute Values, Symbolic Links: what their blocks begin with since version 5. */
export const remoteHeader = layout(
  'xfs_attr3_rmt_hdr',
  { size: 56, endian: 'big', spec: book('Remote Attribute Values') },
  {
    rm_magic: u32(0, 'magic', '"XARM"; of a link: "XSLM"'),
    rm_offset: u32(4, 'bytes', 'of the value before this block'),
    rm_bytes: u32(8, 'bytes', 'of the value in this block'),
    rm_crc: bytes(12, 4, 'crc32c', 'of the block'),
    rm_uuid: bytes(16, 16, 'UUID', 'of the filesystem'),
    rm_owner: u64(32, 'inode', 'that it belongs to'),
    rm_blkno: u64(40, 'basic block', 'of the device where it lies'),
  },
);
export const remoteMagics = { attribute: 0x5841_524d, link: 0x5853_4c4d } as const;
/** Bytes of a symbolic link: XFS_SYMLINK_MAXLEN. */
export const largestLink = 1024;

/** An access list: a count, then these. linux/fs/xfs/libxfs/xfs_format.h: xfs_acl. */
export const aclNames: ReadonlyMap<string, string> = new Map([
  ['SGI_ACL_FILE', 'system.posix_acl_access'],
  ['SGI_ACL_DEFAULT', 'system.posix_acl_default'],
]);
export const aclCountSize = 4;
export const aclEntry = layout(
  'xfs_acl_entry',
  { size: 12, endian: 'big', spec: 'fs/xfs/libxfs/xfs_format.h' },
  {
    ae_tag: u32(0, 'enum', 'whom it is for'),
    ae_id: u32(4, 'user or group', 'where the tag has one'),
    ae_perm: u16(8, 'flags', 'read, write, execute'),
  },
);
