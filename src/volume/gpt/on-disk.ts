import { ascii, bytes, layout, u16, u32, u64, type ViewOf } from '../../binary/layout.js';

/** The header of one of the two copies of a GPT. */
export const gptHeader = layout(
  'GPT header',
  { size: 92, endian: 'little', spec: 'UEFI 2.10, 5.3.2 GPT Header, table 5.5' },
  {
    Signature: ascii(0, 8, 'magic', 'EFI PART'),
    Revision: u32(8, 'version', '0x00010000: 1.0'),
    HeaderSize: u32(12, 'bytes', '92 to one sector: what HeaderCRC32 covers'),
    HeaderCRC32: u32(16, 'crc32', 'of the header, with 0 here'),
    Reserved: u32(20, 'none', '0'),
    MyLBA: u64(24, 'sectors', 'where this copy stands'),
    AlternateLBA: u64(32, 'sectors', 'where the other copy stands'),
    FirstUsableLBA: u64(40, 'sectors', 'the first that a partition may use'),
    LastUsableLBA: u64(48, 'sectors', 'the last that a partition may use'),
    DiskGUID: bytes(56, 16, 'guid', 'of the disk'),
    PartitionEntryLBA: u64(72, 'sectors', 'the start of the array of entries that belongs to this copy'),
    NumberOfPartitionEntries: u32(80, 'entries', 'in the array, used or not'),
    SizeOfPartitionEntry: u32(84, 'bytes', '128 x 2^n'),
    PartitionEntryArrayCRC32: u32(88, 'crc32', 'of the whole array'),
  },
);
export type GptHeaderView = ViewOf<typeof gptHeader>;

/** One entry of the array; larger ones have room after it. */
export const gptEntry = layout(
  'GPT entry',
  { size: 128, endian: 'little', spec: 'UEFI 2.10, 5.3.3 GPT Partition Entry Array, table 5.6' },
  {
    PartitionTypeGUID: bytes(0, 16, 'guid', 'what the partition is for; all zeros: not used'),
    UniquePartitionGUID: bytes(16, 16, 'guid', 'of the partition'),
    StartingLBA: u64(32, 'sectors', 'its first'),
    EndingLBA: u64(40, 'sectors', 'its last, inclusive'),
    Attributes: u64(48, 'flags', 'see entryAttributes'),
    PartitionName: bytes(56, 72, 'utf-16le', 'up to its first NUL'),
  },
);

/** A GUID as UEFI stores it: the first three fields are little-endian numbers, the rest is written as it lies. */
export const efiGuid = layout(
  'EFI_GUID',
  { size: 16, endian: 'little', spec: 'UEFI 2.10, appendix A, table A.1' },
  {
    TimeLow: u32(0, 'number', 'the first eight digits'),
    TimeMid: u16(4, 'number', 'four digits'),
    TimeHighAndVersion: u16(6, 'number', 'four digits'),
    ClockSeq: bytes(8, 2, 'bytes', 'four digits'),
    Node: bytes(10, 6, 'bytes', 'the last twelve digits'),
  },
);

/** The types that matter to whoever looks for free space. Microsoft, PARTITION_INFORMATION_GPT. */
export const partitionTypes = {
  LDM_METADATA: '5808c8aa-7e8f-42e0-85d2-e1e90434cfb3',
  LDM_DATA: 'af9b60a0-1431-4f62-bc68-3311714a69ad',
  STORAGE_SPACES: 'e75caf8f-f680-4cee-afa3-b001e56efc2d',
} as const;

export const gptSignature = 'EFI PART';
/** Where the primary copy stands: right after the protective MBR. */
export const primaryLba = 1n;
/** Attributes, bit 2: legacy firmware boots from it. */
export const legacyBiosBootable = 1n << 2n;
/** Bytes: the largest array that is read. 128 entries take 16 KiB; Linux too stops at a few MiB. */
export const largestArray = 4 << 20;
