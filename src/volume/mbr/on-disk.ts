import { ascii, bytes, layout, u8, u16, u32, type ViewOf } from '../../binary/layout.js';

/** The first sector of a disk. An extended boot record, at the head of each logical drive, has the same shape. */
export const masterBootRecord = layout(
  'MBR',
  { size: 512, endian: 'little', spec: 'UEFI 2.10, 5.2.1 Legacy Master Boot Record, table 5.1' },
  {
    BootCode: bytes(0, 440, 'bytes', 'code that the firmware runs'),
    UniqueMBRDiskSignature: u32(440, 'id', 'chosen by whoever wrote the table; 0 when nobody did'),
    Unknown: u16(444, 'none', 'not used'),
    PartitionRecord: bytes(446, 64, 'bytes', 'four records of 16 bytes'),
    Signature: u16(510, 'magic', '0xAA55'),
  },
);
export type MasterBootRecord = ViewOf<typeof masterBootRecord>;

/** One of the four records of a boot record. */
export const partitionRecord = layout(
  'MBR partition record',
  { size: 16, endian: 'little', spec: 'UEFI 2.10, 5.2.1 Legacy Master Boot Record, table 5.2' },
  {
    BootIndicator: u8(0, 'flag', '0x80 when the legacy firmware boots from it, else 0'),
    StartingCHS: bytes(1, 3, 'cylinder, head, sector', 'its first sector; Linux goes by StartingLBA'),
    OSType: u8(4, 'id', 'what the partition is for'),
    EndingCHS: bytes(5, 3, 'cylinder, head, sector', 'its last sector; Linux goes by SizeInLBA'),
    StartingLBA: u32(8, 'sectors', 'from the start of the disk; in an EBR from that EBR, or for a link from the first'),
    SizeInLBA: u32(12, 'sectors', 'its length; 0 when the record is empty'),
  },
);

export const mbrSignature = 0xaa55;
export const recordCount = 4;
export const bootIndicator = { inactive: 0x00, active: 0x80 } as const;

/** The types that matter to whoever reads a table. */
export const osType = {
  EXTENDED: 0x05,
  EXTENDED_LBA: 0x0f,
  EXTENDED_LINUX: 0x85,
  GPT_PROTECTIVE: 0xee,
  /** Of a dynamic disk, whose volumes the Logical Disk Manager keeps. Linux Documentation/admin-guide/ldm.rst. */
  LDM: 0x42,
  /** Their disklabels. Linux include/linux/msdos_partition.h. */
  FREEBSD: 0xa5,
  OPENBSD: 0xa6,
  NETBSD: 0xa9,
} as const;
/** Where a protective entry starts: at the header of the GPT. UEFI 2.10, 5.2.3 Protective MBR, table 5.4. */
export const protectedFromLba = 1n;

/** What the first sector of a FAT, exFAT or NTFS filesystem has where an MBR has boot code. */
export const biosParameterBlock = layout(
  'BIOS parameter block',
  { size: 512, endian: 'little', spec: 'Microsoft FAT specification (2005), section 3: boot sector and BPB' },
  {
    BS_jmpBoot: bytes(0, 3, 'bytes', 'a jump over the block'),
    BS_OEMName: ascii(3, 8, 'text', 'who formatted it; NTFS and exFAT have their names here'),
    BPB_BytsPerSec: u16(11, 'bytes', '512 to 4096'),
    BPB_SecPerClus: u8(13, 'sectors', 'a power of two'),
    BPB_RsvdSecCnt: u16(14, 'sectors', 'before the first FAT; never 0'),
    BPB_NumFATs: u8(16, 'tables', 'never 0'),
    BPB_Media: u8(21, 'id', '0xF0, or 0xF8 and above'),
    BS_FilSysType: ascii(54, 8, 'text', 'FAT12, FAT16 or FAT, filled up with spaces'),
    BS_FilSysType32: ascii(82, 8, 'text', 'FAT32, filled up with spaces'),
  },
);

/** BPB_Media: the values in use. */
export const media = { removable: 0xf0, firstFixed: 0xf8 } as const;
