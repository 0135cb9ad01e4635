import { bytes, i64, layout, u8, u16, u32, u64 } from '../../binary/layout.js';

/**
 * The structures of btrfs that files are made of: "On-disk Format" of the btrfs documentation, section named at each, and
 * include/uapi/linux/btrfs_tree.h. All are little-endian.
 */

const format = (section: string, size: number) =>
  ({ size, endian: 'little', spec: `btrfs documentation, "On-disk Format": ${section}` }) as const;

export const inodeItem = layout('btrfs_inode_item', format('INODE_ITEM', 160), {
  generation: u64(0, 'transaction', 'that made it'),
  transid: u64(8, 'transaction', 'that changed it last'),
  size: u64(16, 'bytes', 'of its content'),
  nbytes: u64(24, 'bytes', 'of the device that it takes'),
  block_group: u64(32, 'logical address', ''),
  nlink: u32(40, 'names', 'that lead to it'),
  uid: u32(44, 'user', 'that it belongs to'),
  gid: u32(48, 'group', 'that it belongs to'),
  mode: u32(52, 'mode', 'type and permissions'),
  rdev: u64(56, 'device number', 'of devices'),
  flags: u64(64, 'flags', 'NODATACOW and others'),
  sequence: u64(72, 'number', 'of changes'),
  atime: i64(112, 'seconds', 'since 1970 when it was read'),
  atime_nsec: u32(120, 'nanoseconds', ''),
  ctime: i64(124, 'seconds', 'since 1970 when it was changed'),
  ctime_nsec: u32(132, 'nanoseconds', ''),
  mtime: i64(136, 'seconds', 'since 1970 when it was written'),
  mtime_nsec: u32(144, 'nanoseconds', ''),
  otime: i64(148, 'seconds', 'since 1970 when it was made'),
  otime_nsec: u32(156, 'nanoseconds', ''),
});

/** A name in a directory, or an extended attribute; behind it its name, then its data. */
export const directoryItem = layout('btrfs_dir_item', format('DIR_ITEM', 30), {
  location: bytes(0, 17, 'btrfs_disk_key', 'of the inode, or of the root of the subvolume'),
  transid: u64(17, 'transaction', 'that made it'),
  data_len: u16(25, 'bytes', 'of an attribute, behind its name'),
  name_len: u16(27, 'bytes', 'of its name'),
  type: u8(29, 'enum', 'of what it leads to'),
});
/** What the names of directories are hashed from: a crc32c that begins with this. */
export const nameHashSeed = 0xffff_fffe;

/** A subvolume as its parent knows it; behind it its name. */
export const rootReference = layout('btrfs_root_ref', format('ROOT_REF', 18), {
  dirid: u64(0, 'inode', 'of the directory that it is in'),
  sequence: u64(8, 'number', 'of its entry there'),
  name_len: u16(16, 'bytes', 'of its name'),
});

/** What a part of a file is, before where it lies. */
export const fileExtentHead = layout('btrfs_file_extent_item (head)', format('EXTENT_DATA', 21), {
  generation: u64(0, 'transaction', 'that wrote it'),
  ram_bytes: u64(8, 'bytes', 'of content of the whole extent'),
  compression: u8(16, 'enum', 'how it is compressed'),
  encryption: u8(17, 'enum', '0'),
  other_encoding: u16(18, 'enum', '0'),
  type: u8(20, 'enum', 'inline, written, or set aside'),
});
/** Of a part that does not lie behind this in the item itself. */
export const fileExtent = layout('btrfs_file_extent_item', format('EXTENT_DATA', 53), {
  disk_bytenr: u64(21, 'logical address', 'of the extent; 0: a hole'),
  disk_num_bytes: u64(29, 'bytes', 'of the extent on the device'),
  offset: u64(37, 'bytes', 'of the content of the extent that come before this part'),
  num_bytes: u64(45, 'bytes', 'of this part'),
});
export const fileExtentTypes = { inline: 0, regular: 1, preallocated: 2 } as const;
export const compressions = ['none', 'zlib', 'lzo', 'zstd'] as const;
export type Compression = (typeof compressions)[number];
/** Bytes: BTRFS_MAX_UNCOMPRESSED and BTRFS_MAX_COMPRESSED. */
export const largestCompressed = 128 * 1024;

/** Bytes of the longest name: BTRFS_NAME_LEN. */
export const longestName = 255;
/** Inode of the root directory of every subvolume: BTRFS_FIRST_FREE_OBJECTID. */
export const rootDirectory = 256n;
/** Of the directory that stands where a snapshot has a subvolume that it does not hold: BTRFS_EMPTY_SUBVOL_DIR_OBJECTID. */
export const emptySubvolume = 2n;
