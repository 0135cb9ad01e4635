import { bit, bits, flags } from '../../binary/bits.js';
import { ascii, bytes, layout, u8, u16, u32, u64 } from '../../binary/layout.js';

/** The structures of qcow2: QEMU's docs/interop/qcow2, section named at each. The masks have the names of its sources. */

export const magic = 'QFI\xfb';

/** cluster_bits. The format knows no largest; QEMU's is this. */
export const smallestClusterBits = 9;
export const largestClusterBits = 21;
/** cluster_bits with extended L2 entries. */
export const smallestExtendedClusterBits = 14;
export const largestRefcountOrder = 6;
/** refcount_order of version 2. */
export const refcountOrder2 = 4;
/** backing_file_size. */
export const longestBackingFile = 1023;
/** Bytes of the name of the backing file's format: as long as QEMU takes one. */
export const longestBackingFormat = 15;
/** header_length. */
export const headerLength2 = 72;
export const smallestHeaderLength3 = 104;

/** QEMU's own limits: entries of an L1 table (32 MiB), bytes of the refcount table, snapshots, bytes of their table. */
export const mostL1Entries = (32 << 20) / 8;
export const largestRefcountTable = 8 << 20;
export const mostSnapshots = 65536;
export const largestSnapshotTable = mostSnapshots * 1024;
export const largestSnapshotExtraData = 1024;

/** Header: what version 2 has of it. */
export const qcow2Header = layout(
  'qcow2 header',
  { size: 72, endian: 'big', spec: 'docs/interop/qcow2: Header' },
  {
    magic: ascii(0, 4, 'magic', 'QFI and 0xfb'),
    version: u32(4, 'version', '2 or 3'),
    backing_file_offset: u64(8, 'bytes', 'of the name of the backing file; 0: there is none'),
    backing_file_size: u32(16, 'bytes', 'of the name'),
    cluster_bits: u32(20, 'log2', 'a cluster has 2^this bytes'),
    size: u64(24, 'bytes', 'of the virtual disk'),
    crypt_method: u32(32, 'enum', '0: none, 1: AES, 2: LUKS'),
    l1_size: u32(36, 'entries', 'of the active L1 table'),
    l1_table_offset: u64(40, 'bytes', 'of the active L1 table'),
    refcount_table_offset: u64(48, 'bytes', 'of the refcount table'),
    refcount_table_clusters: u32(56, 'clusters', 'of the refcount table'),
    nb_snapshots: u32(60, 'snapshots', 'in the snapshot table'),
    snapshots_offset: u64(64, 'bytes', 'of the snapshot table'),
  },
);

/** Header: what version 3 has behind it. */
export const qcow2Header3 = layout(
  'qcow2 header',
  { size: 104, endian: 'big', spec: 'docs/interop/qcow2: Header, version 3 or higher' },
  {
    incompatible_features: u64(72, 'flags', 'whoever does not know them must not read'),
    compatible_features: u64(80, 'flags', 'whoever does not know them may write'),
    autoclear_features: u64(88, 'flags', 'whoever does not know them clears them before writing'),
    refcount_order: u32(96, 'log2', 'a refcount has 2^this bits'),
    header_length: u32(100, 'bytes', 'of the header with its additional fields: a multiple of 8'),
  },
);

/** Additional fields: there when header_length reaches past them. */
export const qcow2AdditionalFields = layout(
  'qcow2 header',
  { size: 112, endian: 'big', spec: 'docs/interop/qcow2: Additional fields (version 3 and higher)' },
  { compression_type: u8(104, 'enum', '0: zlib, 1: zstd') },
);

export const cryptMethods = ['none', 'AES', 'LUKS'] as const;
export const compressionTypes = ['zlib', 'zstd'] as const;

/** The low half of each field of features; the names are those that QEMU writes into its feature name tables. */
export const incompatibleFeatures = flags('incompatible_features', {
  'dirty bit': bit(0),
  'corrupt bit': bit(1),
  'external data file': bit(2),
  'compression type': bit(3),
  'extended L2 entries': bit(4),
});
export const compatibleFeatures = flags('compatible_features', { 'lazy refcounts': bit(0) });
export const autoclearFeatures = flags('autoclear_features', { bitmaps: bit(0), 'raw external data': bit(1) });

/** Header extensions. */
export const headerExtension = layout(
  'qcow2 header extension',
  { size: 8, endian: 'big', spec: 'docs/interop/qcow2: Header extensions' },
  {
    type: u32(0, 'enum', 'what it is; unknown ones can be ignored'),
    length: u32(4, 'bytes', 'of the data behind it, which are padded to a multiple of 8'),
  },
);
export const extensionTypes = {
  end: 0x0000_0000,
  backingFormat: 0xe279_2aca,
  featureNameTable: 0x6803_f857,
  bitmaps: 0x2385_2875,
  fullDiskEncryption: 0x0537_be77,
  dataFile: 0x4441_5441,
} as const;

/** Feature name table: one entry. */
export const featureName = layout(
  'qcow2 feature name table',
  { size: 48, endian: 'big', spec: 'docs/interop/qcow2: Feature name table' },
  {
    type: u8(0, 'enum', '0: incompatible, 1: compatible, 2: autoclear'),
    bit: u8(1, 'bit', '0 to 63, of that field'),
    name: bytes(2, 46, 'text', 'padded with zeros'),
  },
);

/** Bitmaps extension. */
export const bitmapsExtension = layout(
  'qcow2 bitmaps extension',
  { size: 24, endian: 'big', spec: 'docs/interop/qcow2: Bitmaps extension' },
  {
    nb_bitmaps: u32(0, 'bitmaps', 'in the directory'),
    bitmap_directory_size: u64(8, 'bytes', 'of the directory'),
    bitmap_directory_offset: u64(16, 'bytes', 'of the directory'),
  },
);

/** Full disk encryption header pointer. */
export const fullDiskEncryption = layout(
  'qcow2 full disk encryption header pointer',
  { size: 16, endian: 'big', spec: 'docs/interop/qcow2: Full disk encryption header pointer' },
  { offset: u64(0, 'bytes', 'of the encryption header'), length: u64(8, 'bytes', 'of the encryption header') },
);

/** Snapshots: what stands before the extra data, the ID and the name of each. */
export const snapshotEntry = layout(
  'qcow2 snapshot table entry',
  { size: 40, endian: 'big', spec: 'docs/interop/qcow2: Snapshots' },
  {
    l1_table_offset: u64(0, 'bytes', 'of its L1 table'),
    l1_size: u32(8, 'entries', 'of its L1 table'),
    id_str_size: u16(12, 'bytes', 'of its ID'),
    name_size: u16(14, 'bytes', 'of its name'),
    date_sec: u32(16, 'seconds', 'since 1970: when it was taken'),
    date_nsec: u32(20, 'nanoseconds', 'on top'),
    vm_clock_nsec: u64(24, 'nanoseconds', 'that the guest had run'),
    vm_state_size: u32(32, 'bytes', 'of the state of the machine'),
    extra_data_size: u32(36, 'bytes', 'behind this'),
  },
);

/** Snapshots: the extra data, as far as each of them reaches. */
export const snapshotExtraData = layout(
  'qcow2 snapshot extra data',
  { size: 16, endian: 'big', spec: 'docs/interop/qcow2: Snapshots' },
  {
    vm_state_size_large: u64(0, 'bytes', 'of the state of the machine, instead of the 32 bits above'),
    disk_size: u64(8, 'bytes', 'of the virtual disk when it was taken'),
  },
);

/** Host cluster management: a refcount table entry. */
export const REFT_OFFSET_MASK = bits(9, 63);

/** Cluster mapping: an L1 table entry. */
export const L1E_OFFSET_MASK = bits(9, 55);

/** Cluster mapping: an L2 table entry, the first half of it when it is an extended one. */
export const QCOW_OFLAG_COPIED = bits(63, 63);
export const QCOW_OFLAG_COMPRESSED = bits(62, 62);
/** Standard cluster descriptor; always 0 in version 2, and nothing in an extended entry. */
export const QCOW_OFLAG_ZERO = bits(0, 0);
export const L2E_OFFSET_MASK = bits(9, 55);
/** Compressed clusters descriptor: bit x, where the count of additional sectors starts. */
export const compressedSectorsShift = (clusterBits: number): number => 62 - (clusterBits - 8);
export const compressedDescriptor = bits(0, 61);
export const compressedSectorSize = 512;

/** log2 of the bytes of an L2 table entry. */
export const entryBits = 3;
export const extendedEntryBits = 4;
/** Extended L2 entries: log2 of the subclusters of a cluster, a bit for each in either half of the second word. */
export const subclusterBits = 5;
