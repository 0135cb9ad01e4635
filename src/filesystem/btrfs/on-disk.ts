import { bit, flags } from '../../binary/bits.js';
import { bytes, layout, u8, u16, u32, u64 } from '../../binary/layout.js';

/**
 * The structures of btrfs that say what is where: "On-disk Format" of the btrfs documentation, section named at each,
 * and include/uapi/linux/btrfs_tree.h. All are little-endian.
 */

const format = (section: string, size: number) =>
  ({ size, endian: 'little', spec: `btrfs documentation, "On-disk Format": ${section}` }) as const;

/** Bytes from the start of the device to each superblock: BTRFS_SUPER_INFO_OFFSET and its mirrors. */
export const superblockOffsets: readonly bigint[] = [64n << 10n, 64n << 20n, 256n << 30n];
/** Bytes that are read of each. */
export const superblockSize = 4096;
/** Bytes from each that no chunk uses: BTRFS_STRIPE_LEN. */
export const superblockRoom = 65_536n;
/** Bytes at the start of a device that no chunk uses: BTRFS_DEVICE_RANGE_RESERVED. */
export const reservedStart = 1n << 20n;
/** "_BHRfS_M" */
export const superMagic = 0x4d5f_5366_5248_425fn;
/** BTRFS_MAX_LEVEL. */
export const levels = 8;

export const superFlags = flags('flags', { WRITTEN: bit(0), RELOC: bit(1), ERROR: bit(2) });
/** The high half of the same field. */
export const superFlagsHigh = flags('flags (high half)', {
  SEEDING: bit(0),
  METADUMP: bit(1),
  METADUMP_V2: bit(2),
  CHANGING_FSID: bit(3),
  CHANGING_FSID_V2: bit(4),
  CHANGING_BG_TREE: bit(6),
  CHANGING_DATA_CSUM: bit(7),
  CHANGING_META_CSUM: bit(8),
});
export const incompat = flags('incompat_flags', {
  MIXED_BACKREF: bit(0),
  DEFAULT_SUBVOL: bit(1),
  MIXED_GROUPS: bit(2),
  COMPRESS_LZO: bit(3),
  COMPRESS_ZSTD: bit(4),
  BIG_METADATA: bit(5),
  EXTENDED_IREF: bit(6),
  RAID56: bit(7),
  SKINNY_METADATA: bit(8),
  NO_HOLES: bit(9),
  METADATA_UUID: bit(10),
  RAID1C34: bit(11),
  ZONED: bit(12),
  EXTENT_TREE_V2: bit(13),
  RAID_STRIPE_TREE: bit(14),
  SIMPLE_QUOTA: bit(16),
});
export const compatRo = flags('compat_ro_flags', {
  FREE_SPACE_TREE: bit(0),
  FREE_SPACE_TREE_VALID: bit(1),
  VERITY: bit(2),
  BLOCK_GROUP_TREE: bit(3),
});

export const btrfsSuperblock = layout('btrfs_super_block', format('Superblock', superblockSize), {
  csum: bytes(0x0, 32, 'checksum', 'of all that is behind it'),
  fsid: bytes(0x20, 16, 'UUID', 'as users see it'),
  bytenr: u64(0x30, 'bytes', 'from the start of the device to this copy'),
  flags: u32(0x38, 'flags', 'low half'),
  flags_high: u32(0x3c, 'flags', 'high half'),
  magic: u64(0x40, 'magic', '"_BHRfS_M"'),
  generation: u64(0x48, 'transaction', 'that wrote it'),
  root: u64(0x50, 'logical address', 'of the root of the tree of roots'),
  chunk_root: u64(0x58, 'logical address', 'of the root of the chunk tree'),
  log_root: u64(0x60, 'logical address', 'of the root of the log tree; 0: none'),
  total_bytes: u64(0x70, 'bytes', 'of all devices'),
  bytes_used: u64(0x78, 'bytes', 'in use, without second copies'),
  root_dir_objectid: u64(0x80, 'objectid', '6'),
  num_devices: u64(0x88, 'devices', 'of the filesystem'),
  sectorsize: u32(0x90, 'bytes', 'a block of data'),
  nodesize: u32(0x94, 'bytes', 'a block of a tree'),
  leafsize: u32(0x98, 'bytes', 'the same'),
  stripesize: u32(0x9c, 'bytes', 'as sectorsize'),
  sys_chunk_array_size: u32(0xa0, 'bytes', 'of sys_chunk_array in use'),
  chunk_root_generation: u64(0xa4, 'transaction', 'that wrote the root of the chunk tree'),
  compat_flags: u64(0xac, 'flags', 'whoever does not know them may write'),
  compat_ro_flags: u32(0xb4, 'flags', 'whoever does not know them may read'),
  compat_ro_flags_high: u32(0xb8, 'flags', 'high half'),
  incompat_flags: u32(0xbc, 'flags', 'whoever does not know them must not read'),
  incompat_flags_high: u32(0xc0, 'flags', 'high half'),
  csum_type: u16(0xc4, 'enum', 'of every checksum'),
  root_level: u8(0xc6, 'level', 'of the root of the tree of roots'),
  chunk_root_level: u8(0xc7, 'level', 'of the root of the chunk tree'),
  log_root_level: u8(0xc8, 'level', 'of the root of the log tree'),
  dev_item: bytes(0xc9, 98, 'btrfs_dev_item', 'of this device'),
  label: bytes(0x12b, 256, 'text', 'label'),
  cache_generation: u64(0x22b, 'transaction', 'that wrote the old caches of free space'),
  uuid_tree_generation: u64(0x233, 'transaction', 'that wrote the tree of UUIDs'),
  metadata_uuid: bytes(0x23b, 16, 'UUID', 'in the metadata, with METADATA_UUID'),
  sys_chunk_array: bytes(0x32b, 2048, 'keys and chunks', 'that hold the chunk tree'),
});

export const deviceItem = layout('btrfs_dev_item', format('DEV_ITEM', 98), {
  devid: u64(0, 'device', 'its number'),
  total_bytes: u64(8, 'bytes', 'of the device'),
  bytes_used: u64(16, 'bytes', 'that chunks have of it'),
  io_align: u32(24, 'bytes', ''),
  io_width: u32(28, 'bytes', ''),
  sector_size: u32(32, 'bytes', ''),
  type: u64(36, 'enum', '0'),
  generation: u64(44, 'transaction', '0'),
  start_offset: u64(52, 'bytes', '0'),
  dev_group: u32(60, 'group', '0'),
  seek_speed: u8(64, '', '0'),
  bandwidth: u8(65, '', '0'),
  uuid: bytes(66, 16, 'UUID', 'of the device'),
  fsid: bytes(82, 16, 'UUID', 'of the filesystem, in the metadata'),
});

/** Header of every block of a tree. */
export const nodeHeader = layout('btrfs_header', format('Header', 0x65), {
  csum: bytes(0x0, 32, 'checksum', 'of all that is behind it'),
  fsid: bytes(0x20, 16, 'UUID', 'of the filesystem, in the metadata'),
  bytenr: u64(0x30, 'logical address', 'of this block'),
  flags: u64(0x38, 'flags', 'of its back references'),
  chunk_tree_uuid: bytes(0x40, 16, 'UUID', 'of the chunk tree'),
  generation: u64(0x50, 'transaction', 'that wrote it'),
  owner: u64(0x58, 'tree', 'that wrote it'),
  nritems: u32(0x60, 'items', 'or pointers in it'),
  level: u8(0x64, 'level', '0: a leaf'),
});
export const diskKey = layout('btrfs_disk_key', format('Key', 17), {
  objectid: u64(0, 'objectid', 'what it is about'),
  type: u8(8, 'enum', 'what it says'),
  offset: u64(9, '', 'by its type'),
});
/** In a node: a key and where the block is that begins with it. */
export const nodePointer = layout('btrfs_key_ptr', format('Internal Node', 33), {
  key: bytes(0, 17, 'btrfs_disk_key', 'the first of the block'),
  blockptr: u64(17, 'logical address', 'of the block'),
  generation: u64(25, 'transaction', 'that wrote the block'),
});
/** In a leaf: a key and where its data lie. */
export const leafItem = layout('btrfs_item', format('Leaf Node', 25), {
  key: bytes(0, 17, 'btrfs_disk_key', 'of the item'),
  offset: u32(17, 'bytes', 'from the end of the header to its data'),
  size: u32(21, 'bytes', 'of its data'),
});

/** Trees by the objectid of their root. */
export const treeIds = {
  root: 1n,
  extent: 2n,
  chunk: 3n,
  device: 4n,
  files: 5n,
  freeSpace: 10n,
} as const;

/** Types of keys. */
export const keyTypes = {
  INODE_ITEM: 1,
  XATTR_ITEM: 24,
  DIR_ITEM: 84,
  DIR_INDEX: 96,
  EXTENT_DATA: 108,
  ROOT_ITEM: 132,
  ROOT_REF: 156,
  EXTENT_ITEM: 168,
  METADATA_ITEM: 169,
  BLOCK_GROUP_ITEM: 192,
  FREE_SPACE_INFO: 198,
  FREE_SPACE_EXTENT: 199,
  FREE_SPACE_BITMAP: 200,
  DEV_EXTENT: 204,
  DEV_ITEM: 216,
  CHUNK_ITEM: 228,
  DEV_REPLACE: 250,
} as const;

export const chunkItem = layout('btrfs_chunk', format('CHUNK_ITEM', 48), {
  length: u64(0, 'bytes', 'of logical addresses'),
  owner: u64(8, 'tree', '2'),
  stripe_len: u64(16, 'bytes', '65536'),
  type: u64(24, 'flags', 'what it holds, and how often'),
  io_align: u32(32, 'bytes', ''),
  io_width: u32(36, 'bytes', ''),
  sector_size: u32(40, 'bytes', ''),
  num_stripes: u16(44, 'stripes', 'behind this'),
  sub_stripes: u16(46, 'stripes', 'of RAID10'),
});
export const chunkStripe = layout('btrfs_stripe', format('CHUNK_ITEM', 32), {
  devid: u64(0, 'device', 'that it is on'),
  offset: u64(8, 'bytes', 'from the start of the device'),
  dev_uuid: bytes(16, 16, 'UUID', 'of the device'),
});
/** BTRFS_FIRST_CHUNK_TREE_OBJECTID: of the key of every chunk. */
export const chunkObjectid = 256n;
/** BTRFS_DEV_ITEMS_OBJECTID. */
export const devicesObjectid = 1n;
export const groupTypes = flags('type', {
  DATA: bit(0),
  SYSTEM: bit(1),
  METADATA: bit(2),
  RAID0: bit(3),
  RAID1: bit(4),
  DUP: bit(5),
  RAID10: bit(6),
  RAID5: bit(7),
  RAID6: bit(8),
  RAID1C3: bit(9),
  RAID1C4: bit(10),
});

export const deviceExtent = layout('btrfs_dev_extent', format('DEV_EXTENT', 48), {
  chunk_tree: u64(0, 'tree', '3'),
  chunk_objectid: u64(8, 'objectid', '256'),
  chunk_offset: u64(16, 'logical address', 'of its chunk'),
  length: u64(24, 'bytes', 'of the device'),
});
export const blockGroupItem = layout('btrfs_block_group_item', format('BLOCK_GROUP_ITEM', 24), {
  used: u64(0, 'bytes', 'that extents have of it'),
  chunk_objectid: u64(8, 'objectid', '256'),
  flags: u64(16, 'flags', 'as of its chunk'),
});
export const extentItem = layout('btrfs_extent_item', format('EXTENT_ITEM', 24), {
  refs: u64(0, 'references', 'to it'),
  generation: u64(8, 'transaction', 'that allocated it'),
  flags: u64(16, 'flags', 'bit 0: data, bit 1: a block of a tree'),
});
export const freeSpaceInfo = layout('btrfs_free_space_info', format('FREE_SPACE_INFO', 8), {
  extent_count: u32(0, 'extents', 'free of the block group'),
  flags: u32(4, 'flags', 'bit 0: in bitmaps'),
});
/** What of a root is there since the first version. */
export const rootItem = layout('btrfs_root_item', format('ROOT_ITEM', 239), {
  inode: bytes(0, 160, 'btrfs_inode_item', 'of no meaning'),
  generation: u64(160, 'transaction', 'that wrote the root'),
  root_dirid: u64(168, 'inode', 'of the root directory: 256'),
  bytenr: u64(176, 'logical address', 'of the root'),
  byte_limit: u64(184, 'bytes', '0'),
  bytes_used: u64(192, 'bytes', ''),
  last_snapshot: u64(200, 'transaction', ''),
  flags: u64(208, 'flags', 'bit 0: read-only'),
  refs: u32(216, 'references', '0: it is being deleted'),
  drop_progress: bytes(220, 17, 'btrfs_disk_key', 'how far that is'),
  drop_level: u8(237, 'level', 'the same'),
  level: u8(238, 'level', 'of the root'),
});
export const deviceReplaceItem = layout('btrfs_dev_replace_item', format('DEV_REPLACE', 72), {
  src_devid: u64(0, 'device', 'that is replaced'),
  replace_state: u64(32, 'enum', 'how far it is'),
});
/** BTRFS_DEV_REPLACE_DEVID: what a device is called that replaces another, until it has. */
export const replacementId = 0n;
/** BTRFS_DEV_REPLACE_ITEM_STATE_STARTED, _SUSPENDED. */
export const replacing: readonly bigint[] = [1n, 4n];
