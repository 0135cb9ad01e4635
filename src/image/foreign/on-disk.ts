import { bit } from '../../binary/bits.js';
import { ascii, bytes, layout, u8, u16, u32, u64 } from '../../binary/layout.js';

/**
 * What the formats that QEMU reads for us keep about other files, and how each is known: as much as it takes to decide
 * that an image holds all of its disk itself. Sources at each.
 */

export const sectorSize = 512;

/** A sparse extent of VMware's hosted products, which is a whole disk when its descriptor is embedded. */
export const vmdkSparseHeader = layout(
  'VMDK sparse extent header',
  { size: 512, endian: 'little', spec: 'VMware Virtual Disk Format 5.0: Hosted Sparse Extents' },
  {
    magicNumber: ascii(0, 4, 'magic', 'KDMV'),
    version: u32(4, 'version', '1 to 3'),
    flags: u32(8, 'flags', 'bit 16: grains are compressed, bit 17: markers'),
    capacity: u64(12, 'sectors', 'of the disk; 0: the embedded descriptor names other extents'),
    grainSize: u64(20, 'sectors', 'of a grain'),
    descriptorOffset: u64(28, 'sectors', 'of the embedded descriptor; 0: there is none'),
    descriptorSize: u64(36, 'sectors', 'of the embedded descriptor'),
  },
);
export const vmdkMagics = { sparse: 'KDMV', esx: 'COWD', descriptor: '# Disk DescriptorFile' } as const;

/** Bytes: what QEMU reads of an embedded descriptor, and the largest descriptor file that it takes. */
export const vmdkEmbeddedDescriptor = 20 * sectorSize;
export const largestVmdkDescriptor = 2 << 20;
/** parentCID of a disk that stands on no other. */
export const vmdkNoParent = 'ffffffff';

export const vdiHeader = layout(
  'VDI header',
  { size: 512, endian: 'little', spec: 'VirtualBox: VDICore.h, VDIPREHEADER and VDIHEADER1' },
  {
    signature: u32(64, 'magic', 'behind a text for people'),
    version: u32(68, 'version', 'major in the high half: 1'),
    image_type: u32(76, 'enum', '1: dynamic, 2: fixed, 3: undo, 4: differencing'),
    offset_data: u32(344, 'bytes', 'of the first block'),
    block_size: u32(376, 'bytes', 'of a block'),
    blocks_allocated: u32(388, 'blocks', 'that lie in the file'),
    uuid_image: bytes(392, 16, 'UUID', 'its own'),
    uuid_last_snap: bytes(408, 16, 'UUID', 'of the last change'),
    uuid_link: bytes(424, 16, 'UUID', 'of the image that it stands on; zeros: none'),
    uuid_parent: bytes(440, 16, 'UUID', 'of the last change of that one'),
  },
);
export const vdiSignature = 0xbeda_107f;
export const vdiTypes = { dynamic: 1, fixed: 2 } as const;

/** At the end of the file, and a copy at its start in all but fixed images. */
export const vhdFooter = layout(
  'VHD footer',
  {
    size: 512,
    endian: 'big',
    spec: 'Microsoft Virtual Hard Disk Image Format Specification 1.0: Hard Disk Footer Format',
  },
  {
    cookie: ascii(0, 8, 'magic', 'conectix'),
    data_offset: u64(16, 'bytes', 'of the dynamic disk header'),
    disk_type: u32(60, 'enum', '2: fixed, 3: dynamic, 4: differencing'),
  },
);
export const vhdTypes = { fixed: 2, dynamic: 3 } as const;

export const vhdDynamicHeader = layout(
  'VHD dynamic disk header',
  {
    size: 1024,
    endian: 'big',
    spec: 'Microsoft Virtual Hard Disk Image Format Specification 1.0: Dynamic Disk Header',
  },
  {
    cookie: ascii(0, 8, 'magic', 'cxsparse'),
    parent_unique_id: bytes(40, 16, 'UUID', 'of the parent; zeros: none'),
    parent_unicode_name: bytes(64, 512, 'text', 'the name of the parent, in UTF-16'),
    parent_locators: bytes(576, 192, '', 'eight entries of 24 bytes; zeros: none'),
  },
);
export const vhdDynamicCookie = 'cxsparse';

export const vhdxFileIdentifier = layout(
  'VHDX file identifier',
  { size: 8, endian: 'little', spec: 'MS-VHDX 2.2.1 File Type Identifier' },
  { signature: ascii(0, 8, 'magic', 'vhdxfile') },
);
/** Bytes from the start of the file: the region table and its copy; bytes: of each, and of a metadata table. */
export const vhdxRegionTables = [192n << 10n, 256n << 10n] as const;
export const vhdxTableSize = 64 << 10;
export const mostVhdxEntries = 2047;

export const vhdxRegionTable = layout(
  'VHDX region table',
  { size: 16, endian: 'little', spec: 'MS-VHDX 2.2.3.1 Region Table Header' },
  { Signature: ascii(0, 4, 'magic', 'regi'), EntryCount: u32(8, 'entries', 'at most 2047') },
);
export const vhdxRegionEntry = layout(
  'VHDX region table entry',
  { size: 32, endian: 'little', spec: 'MS-VHDX 2.2.3.2 Region Table Entry' },
  { Guid: bytes(0, 16, 'GUID', 'what it is'), FileOffset: u64(16, 'bytes', 'where'), Length: u32(24, 'bytes', '') },
);
export const vhdxMetadataTable = layout(
  'VHDX metadata table',
  { size: 32, endian: 'little', spec: 'MS-VHDX 2.6.1.1 Metadata Table Header' },
  { Signature: ascii(0, 8, 'magic', 'metadata'), EntryCount: u16(10, 'entries', 'at most 2047') },
);
export const vhdxMetadataEntry = layout(
  'VHDX metadata table entry',
  { size: 32, endian: 'little', spec: 'MS-VHDX 2.6.1.2 Metadata Table Entry' },
  {
    ItemId: bytes(0, 16, 'GUID', 'what it is'),
    Offset: u32(16, 'bytes', 'from the start of the metadata region'),
    Length: u32(20, 'bytes', ''),
  },
);
export const vhdxFileParameters = layout(
  'VHDX file parameters',
  { size: 8, endian: 'little', spec: 'MS-VHDX 2.6.2.1 File Parameters' },
  { BlockSize: u32(0, 'bytes', 'of a block'), Flags: u32(4, 'flags', 'bit 1: it has a parent') },
);
export const vhdxHasParent = bit(1);
/** As the file has them: the first three parts of a GUID are little-endian. */
export const vhdxGuids = {
  metadataRegion: '06a27c8b90479a4bb8fe575f050f886e',
  fileParameters: '3767a1ca36fa434db3b633f0aa44e76b',
  parentLocator: '2d5fd3a80bb34d45abf7d3d84834ab0c',
} as const;

export const qedHeader = layout(
  'QED header',
  { size: 64, endian: 'little', spec: 'QEMU docs/interop/qed_spec: Header' },
  {
    magic: ascii(0, 4, 'magic', 'QED and a NUL'),
    features: u64(16, 'flags', 'bit 0: it has a backing file'),
    backing_filename_offset: u32(56, 'bytes', 'of the name of the backing file'),
    backing_filename_size: u32(60, 'bytes', 'of the name'),
  },
);
export const qedBackingFile = bit(0);

/** It names no other file: what it may stand on is told by a file beside it, if at all. */
export const parallelsHeader = layout(
  'Parallels header',
  { size: 64, endian: 'little', spec: 'QEMU docs/interop/parallels: Header' },
  { magic: ascii(0, 16, 'magic', ''), version: u32(16, 'version', '2') },
);
export const parallelsMagics = ['WithoutFreeSpace', 'WithouFreSpacExt'] as const;

export const qcow1Header = layout(
  'qcow header',
  { size: 48, endian: 'big', spec: 'QEMU block/qcow.c, QCowHeader' },
  {
    magic: ascii(0, 4, 'magic', 'QFI and 0xfb'),
    version: u32(4, 'version', '1'),
    backing_file_offset: u64(8, 'bytes', 'of the name of the backing file; 0: there is none'),
    backing_file_size: u32(16, 'bytes', 'of the name'),
    cluster_bits: u8(32, 'log2', ''),
    crypt_method: u32(36, 'enum', '0: none'),
  },
);
export const qcow1Magic = 'QFI\xfb';
/** Bytes: the longest name of a backing file that any of them keeps. */
export const longestBackingName = 1024;
