import { ascii, bytes, layout, u8, u16, u32, u64 } from '../../binary/layout.js';

/**
 * The little of each format that tells what it is, and what it is called: no more than a probe needs. Formats that
 * disktool takes apart have an on-disk.ts of their own.
 */
const little = (size: number, spec: string) => ({ size, endian: 'little', spec }) as const;
const big = (size: number, spec: string) => ({ size, endian: 'big', spec }) as const;

const md = 'Linux include/uapi/linux/raid/md_p.h';
export const mdMagic = 0xa92b4efc;
const md0In = (endian: 'little' | 'big') =>
  layout(
    'MD 0.90 superblock',
    { size: 64, endian, spec: `${md}, mdp_superblock_s` },
    {
      md_magic: u32(0, 'magic', '0xa92b4efc, in the byte order of the machine'),
      major_version: u32(4, 'number', '0'),
      minor_version: u32(8, 'number', '90'),
      set_uuid0: u32(20, 'UUID', 'first quarter'),
      set_uuid1: u32(52, 'UUID', 'second quarter'),
      set_uuid2: u32(56, 'UUID', 'third quarter'),
      set_uuid3: u32(60, 'UUID', 'fourth quarter'),
    },
  );
export const md0 = md0In('little');
export const md0Big = md0In('big');
export const md1 = layout('MD 1.x superblock', little(256, `${md}, mdp_superblock_1`), {
  magic: u32(0, 'magic', '0xa92b4efc'),
  major_version: u32(4, 'number', '1'),
  set_uuid: bytes(16, 16, 'UUID', 'of the array'),
  set_name: bytes(32, 32, 'text', 'host:name, padded with NULs'),
  super_offset: u64(144, 'sectors', 'where this superblock stands on the member'),
});
export const luks1 = layout('LUKS header', big(208, 'LUKS1 On-Disk Format Specification 1.2.3, section 2.1'), {
  version: u16(6, 'number', '1 or 2'),
  uuid: bytes(168, 40, 'text', 'as it is written'),
});
export const luks2 = layout('LUKS2 header', big(512, 'LUKS2 On-Disk Format Specification 1.1.1, section 2.1'), {
  version: u16(6, 'number', '2'),
  label: bytes(24, 48, 'text', 'padded with NULs'),
  uuid: bytes(168, 40, 'text', 'as it is written'),
  hdr_offset: u64(256, 'bytes', 'where this copy stands on the device'),
});
export const lvmLabel = layout('LVM2 label', little(64, 'lvm2 lib/label/label.h, label_header; format_text/layout.h'), {
  id: ascii(0, 8, 'magic', 'LABELONE'),
  sector_xl: u64(8, 'sectors', 'where this label stands'),
  offset_xl: u32(20, 'bytes', 'from the label to the physical volume header'),
  type: ascii(24, 8, 'magic', 'LVM2 001'),
  pv_uuid: ascii(32, 32, 'text', 'letters and digits without their dashes'),
});
export const lvm1 = layout('LVM1 header', little(4, 'lvm2 lib/format1/disk-rep.h, pv_disk'), {
  id: ascii(0, 2, 'magic', 'HM'),
  version: u16(2, 'number', '1 or 2'),
});
const bcacheSpec = 'Linux include/uapi/linux/bcache.h, cache_sb';
export const bcache = layout('bcache superblock', little(104, bcacheSpec), {
  offset: u64(8, 'sectors', 'where this superblock stands'),
  uuid: bytes(40, 16, 'UUID', 'of this device'),
  label: bytes(72, 32, 'text', 'of a backing device'),
});
export const bcachefs = layout('bcachefs superblock', little(112, 'Linux fs/bcachefs/bcachefs_format.h, bch_sb'), {
  user_uuid: bytes(56, 16, 'UUID', 'of the filesystem'),
  label: bytes(72, 32, 'text', 'padded with NULs'),
  offset: u64(104, 'sectors', 'where this superblock stands'),
});
/** Four labels of 256 KiB each: two at the start of the device, two at its end. */
export const zfsLabelSize = 256n * 1024n;
/** ZFS pools have no smaller members. */
export const zfsMinimumSize = 64n * 1024n * 1024n;
const zfsSpec = 'ZFS On-Disk Specification';
export const zfsNameValueList = layout('ZFS name-value list', little(32, `${zfsSpec}, section 1.2; illumos nvpair.c`), {
  nvh_encoding: u8(0, 'code', '1: XDR'),
  nvh_endian: u8(1, 'code', '0 or 1'),
  first_name: ascii(24, 7, 'text', 'the first name, version'),
});
/** Bytes from the start of a label. */
export const zfsNameValueListOffset = 16n * 1024n;
export const zfsUberblock = layout('ZFS uberblock', little(8, `${zfsSpec}, section 1.3`), {
  ub_magic: u64(0, 'magic', '0x00bab10c, in the byte order of the machine'),
});
export const zfsUberblockBig = layout('ZFS uberblock', big(8, `${zfsSpec}, section 1.3`), {
  ub_magic: u64(0, 'magic', '0x00bab10c, in the byte order of the machine'),
});
export const zfsUberblockMagic = 0x00bab10cn;
/** Bytes from the start of a label to the ring of uberblocks, and the size of the ring and of its smallest slot. */
export const zfsRingOffset = 128n * 1024n;
export const zfsRingSize = 128 * 1024;
export const zfsSlotSize = 1024;
/** That many uberblocks are no accident: a pool's first commits write more. */
export const zfsEnoughUberblocks = 4;
export const ext = layout('ext superblock', little(128, 'ext4 documentation, "Super Block"'), {
  s_inodes_count: u32(0x0, 'inodes', 'at least 1'),
  s_log_block_size: u32(0x18, 'log2', 'block size: 1024 shifted by it; 0 to 6'),
  s_magic: u16(0x38, 'magic', '0xef53'),
  s_rev_level: u32(0x4c, 'number', '0 or 1'),
  s_feature_incompat: u32(0x60, 'flags', 'what a reader must know'),
  s_uuid: bytes(0x68, 16, 'UUID', 'of the filesystem'),
  s_volume_name: bytes(0x78, 8, 'text', 'the start of the label'),
});
/** Bits of s_feature_incompat. */
export const extJournalDevice = 8;
export const extMagic = 0xef53;
export const xfs = layout('XFS superblock', little(120, 'XFS Algorithms and Data Structures, "Superblocks"'), {
  sb_uuid: bytes(32, 16, 'UUID', 'of the filesystem'),
  sb_fname: bytes(108, 12, 'text', 'the label'),
});
export const btrfs = layout('btrfs superblock', little(0x22b, 'btrfs documentation, "On-disk Format", Superblock'), {
  fsid: bytes(0x20, 16, 'UUID', 'of the filesystem'),
  label: bytes(0x12b, 0x100, 'text', 'padded with NULs'),
});
export const ntfs = layout('NTFS boot sector', little(512, 'Linux fs/ntfs3/ntfs.h, NTFS_BOOT'), {
  bytes_per_sector: u16(0xb, 'bytes', '256 to 4096'),
  serial_num: u64(0x48, 'number', 'of the volume'),
});
export const fat = layout('FAT boot sector', little(512, 'Microsoft FAT specification, section 3'), {
  BS_jmpBoot: u8(0, 'code', '0xeb or 0xe9'),
  BPB_BytsPerSec: u16(11, 'bytes', '512 to 4096'),
  BPB_SecPerClus: u8(13, 'sectors', 'a power of two'),
  BPB_RsvdSecCnt: u16(14, 'sectors', 'at least 1'),
  BPB_NumFATs: u8(16, 'count', '1 or 2'),
  BPB_Media: u8(21, 'code', '0xf0, or 0xf8 and above'),
  BPB_FATSz16: u16(22, 'sectors', '0 on FAT32'),
  BS_VolID: u32(39, 'number', 'serial number (FAT12, FAT16)'),
  Signature_word: u16(510, 'magic', '0xaa55'),
});
export const fat32 = layout('FAT32 boot sector', little(512, 'Microsoft FAT specification, section 3.3'), {
  BPB_FATSz32: u32(36, 'sectors', 'at least 1'),
  BS_VolID: u32(67, 'number', 'serial number'),
});
export const exfat = layout('exFAT boot sector', little(512, 'Microsoft exFAT specification, section 3.1'), {
  MustBeZero: bytes(11, 53, 'zeros', 'where FAT has its parameters'),
  VolumeSerialNumber: u32(100, 'number', 'serial number'),
});
/** What marks a boot sector of BitLocker To Go, at 0x1a8: a GUID. */
export const bitlockerToGo = Uint8Array.of(
  ...[0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01],
);
export const f2fs = layout('f2fs superblock', little(1148, 'Linux include/linux/f2fs_fs.h, f2fs_super_block'), {
  uuid: bytes(0x6c, 16, 'UUID', 'of the filesystem'),
  volume_name: bytes(0x7c, 1024, 'UTF-16', 'the label'),
});
export const iso9660 = layout('ISO 9660 primary volume descriptor', little(2048, 'ECMA-119, section 8.4'), {
  volume_id: bytes(40, 32, 'text', 'padded with spaces'),
  created: ascii(813, 16, 'digits', 'year to hundredths of a second'),
  modified: ascii(830, 16, 'digits', 'year to hundredths of a second'),
});
export const squashfs = layout('squashfs superblock', little(32, 'Linux fs/squashfs/squashfs_fs.h'), {
  s_major: u16(28, 'number', '4; less is another format'),
});
export const erofs = layout('EROFS superblock', little(80, 'Linux fs/erofs/erofs_fs.h, erofs_super_block'), {
  uuid: bytes(48, 16, 'UUID', 'of the filesystem'),
  volume_name: bytes(64, 16, 'text', 'the label'),
});
export const jfs = layout('JFS superblock', little(184, 'Linux fs/jfs/jfs_superblock.h'), {
  s_uuid: bytes(136, 16, 'UUID', 'of the filesystem'),
  s_label: bytes(152, 16, 'text', 'padded with NULs'),
});
export const reiserfs = layout(
  'ReiserFS superblock',
  little(204, 'Linux fs/reiserfs/reiserfs.h, reiserfs_super_block'),
  {
    s_uuid: bytes(84, 16, 'UUID', 'of the filesystem'),
    s_label: bytes(100, 16, 'text', 'padded with NULs'),
  },
);
export const nilfs2 = layout('NILFS2 superblock', little(248, 'Linux include/uapi/linux/nilfs2_ondisk.h'), {
  s_rev_level: u32(0, 'number', '2'),
  s_magic: u16(6, 'magic', '0x3434'),
  s_uuid: bytes(152, 16, 'UUID', 'of the filesystem'),
  s_volume_name: bytes(168, 80, 'text', 'the label'),
});
export const nilfs2Revision = 2;
export const gfs2 = layout('GFS2 superblock', big(256, 'Linux include/uapi/linux/gfs2_ondisk.h, gfs2_sb'), {
  sb_fs_format: u32(24, 'number', '1309 is GFS, 1801 and above GFS2'),
});
export const gfsFormat = 1309;
export const apfs = layout('APFS container superblock', little(88, 'Apple File System Reference, nx_superblock_t'), {
  nx_block_size: u32(36, 'bytes', '4096 and above'),
  nx_uuid: bytes(72, 16, 'UUID', 'of the container'),
});
export const hfsPlus = layout('HFS Plus volume header', big(48, 'Apple Technical Note TN1150, "Volume Header"'), {
  version: u16(2, 'number', '4 (H+) or 5 (HX)'),
  blockSize: u32(40, 'bytes', 'a power of two, at least 512'),
});
export const hfs = layout('HFS master directory block', big(128, 'Inside Macintosh: Files, chapter 2'), {
  drAlBlkSiz: u32(20, 'bytes', 'a multiple of 512'),
  drVN: bytes(36, 28, 'text', 'its length, then the label'),
  drEmbedSigWord: ascii(124, 2, 'magic', 'H+ when it only wraps an HFS Plus volume'),
});
export const minix = layout('minix superblock', little(64, 'Linux include/uapi/linux/minix_fs.h'), {
  s_ninodes: u16(0, 'inodes', 'at least 1'),
  s_log_zone_size: u16(10, 'log2', '0'),
  ext_magic: u16(0x38, 'magic', '0xef53 in an ext superblock, whose counters may look like the magic of minix'),
});
