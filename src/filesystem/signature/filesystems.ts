import { isPowerOfTwo } from '../../binary/bits.js';
import { formatUuid } from '../../binary/uuid.js';
import * as swap from '../swap/on-disk.js';
import { decodeText, decodeUtf16 } from '../text.js';
import * as disk from './on-disk.js';
import { at, beforeEnd, type Identity, kibibyte, type Signature } from './signature.js';

/**
 * Every filesystem that disktool knows by name, whether or not it reads it. Offsets: the documents named in on-disk.ts,
 * and libblkid(3), which knows the same.
 */

const hexadecimal = (value: number | bigint, digits: number) => value.toString(16).toUpperCase().padStart(digits, '0');
const serialNumber = (value: number) => hexadecimal(value, 8).replace(/^(.{4})/, '$1-');

const superblock = kibibyte;
const volumeDescriptors = 32 * kibibyte;
const signaturesOfSwap = (magics: readonly string[]) =>
  swap.swapPageSizes.flatMap((page) => magics.map((magic) => at(page - swap.swapSignatureSize, 0, magic)));

const ufsMagics = [0x19540119, 0x00011954, 0x00195612, 0x00095014, 0x00612195, 0x05231994].flatMap((magic) => {
  const digits = [24, 16, 8, 0].map((shift) => (magic >>> shift) % 256);
  return [digits, digits.toReversed()];
});

export const filesystems: readonly Signature[] = [
  {
    type: 'vfat',
    usage: 'filesystem',
    marks: [
      at(0, 0x36, 'FAT1'),
      at(0, 0x36, 'FAT  '),
      at(0, 0x36, 'MSDOS'),
      at(0, 0x52, 'FAT32   '),
      at(0, 0x52, 'MSWIN'),
      at(0, 0x1fe, [0x55, 0xaa]),
    ],
    size: disk.fat.size,
    inspect: inspectFat,
  },
  {
    type: 'ntfs',
    usage: 'filesystem',
    marks: [at(0, 3, 'NTFS    ')],
    size: disk.ntfs.size,
    inspect: (view) => ({ uuid: hexadecimal(disk.ntfs.at(view).serial_num, 16) }),
  },
  {
    type: 'exfat',
    usage: 'filesystem',
    marks: [at(0, 3, 'EXFAT   ')],
    size: disk.exfat.size,
    inspect: (view) => ({ uuid: serialNumber(disk.exfat.at(view).VolumeSerialNumber) }),
  },
  { type: 'ReFS', usage: 'filesystem', marks: [at(0, 0, '\0\0\0ReFS\0')] },
  {
    type: 'swsuspend',
    usage: 'other',
    marks: [at(0, 0, [...swap.tuxOnIceMagic]), ...signaturesOfSwap(swap.hibernationMagics)],
    hides: ['swap'],
  },
  { type: 'swap', usage: 'other', marks: signaturesOfSwap([swap.swapMagic, swap.oldSwapMagic]) },
  {
    type: 'ext',
    usage: 'filesystem',
    marks: [at(superblock, 0x38, [0x53, 0xef])],
    size: disk.ext.size,
    inspect(view) {
      const { s_feature_incompat, s_uuid } = disk.ext.at(view);
      const journal = (s_feature_incompat & disk.extJournalDevice) !== 0;
      return journal ? { type: 'jbd', uuid: formatUuid(s_uuid) } : {};
    },
  },
  {
    type: 'xfs',
    usage: 'filesystem',
    marks: [at(0, 0, 'XFSB')],
    size: disk.xfs.size,
    inspect(view) {
      const { sb_uuid, sb_fname } = disk.xfs.at(view);
      return { uuid: formatUuid(sb_uuid), label: decodeText(sb_fname) };
    },
  },
  {
    type: 'btrfs',
    usage: 'filesystem',
    marks: [at(64 * kibibyte, 0x40, '_BHRfS_M')],
    size: disk.btrfs.size,
    inspect(view) {
      const { fsid, label } = disk.btrfs.at(view);
      return { uuid: formatUuid(fsid), label: decodeText(label) };
    },
  },
  {
    type: 'f2fs',
    usage: 'filesystem',
    // Its second superblock, one block further on, outlives mkswap.
    marks: [at(superblock, 0, [0x10, 0x20, 0xf5, 0xf2])],
    size: disk.f2fs.size,
    inspect(view) {
      const { uuid, volume_name } = disk.f2fs.at(view);
      return { uuid: formatUuid(uuid), label: decodeUtf16(volume_name) };
    },
  },
  {
    type: 'udf',
    usage: 'filesystem',
    marks: Array.from({ length: 16 }, (_, i) => volumeDescriptors + i * 2 * kibibyte).flatMap((base) =>
      ['NSR02', 'NSR03'].map((magic) => at(base, 1, magic)),
    ),
    hides: ['iso9660', 'hfs', 'hfsplus'],
  },
  {
    type: 'iso9660',
    usage: 'filesystem',
    marks: [at(volumeDescriptors, 1, 'CD001'), at(volumeDescriptors, 9, 'CDROM')],
    size: disk.iso9660.size,
    inspect: inspectIso9660,
    hides: ['hfs', 'hfsplus'],
  },
  {
    type: 'squashfs',
    usage: 'filesystem',
    marks: [at(0, 0, 'hsqs'), at(0, 0, 'sqsh')],
    size: disk.squashfs.size,
    inspect: (view) => (disk.squashfs.at(view).s_major === 4 ? {} : { type: 'squashfs3' }),
  },
  {
    type: 'erofs',
    usage: 'filesystem',
    marks: [at(superblock, 0, [0xe2, 0xe1, 0xf5, 0xe0])],
    size: disk.erofs.size,
    inspect(view) {
      const { uuid, volume_name } = disk.erofs.at(view);
      return { uuid: formatUuid(uuid), label: decodeText(volume_name) };
    },
  },
  {
    type: 'jfs',
    usage: 'filesystem',
    marks: [at(32 * kibibyte, 0, 'JFS1')],
    size: disk.jfs.size,
    inspect(view) {
      const { s_uuid, s_label } = disk.jfs.at(view);
      return { uuid: formatUuid(s_uuid), label: decodeText(s_label) };
    },
  },
  {
    type: 'reiserfs',
    usage: 'filesystem',
    marks: [
      ...['ReIsErFs', 'ReIsEr2Fs', 'ReIsEr3Fs'].map((magic) => at(64 * kibibyte, 0x34, magic)),
      at(8 * kibibyte, 0x34, 'ReIsErFs'),
    ],
    size: disk.reiserfs.size,
    inspect(view) {
      const { s_uuid, s_label } = disk.reiserfs.at(view);
      return { uuid: formatUuid(s_uuid), label: decodeText(s_label) };
    },
  },
  { type: 'reiser4', usage: 'filesystem', marks: [at(64 * kibibyte, 0, 'ReIsEr4')] },
  {
    type: 'nilfs2',
    usage: 'filesystem',
    marks: [at(superblock, 6, [0x34, 0x34]), beforeEnd(4 * kibibyte, 4 * kibibyte, 6, [0x34, 0x34])],
    size: disk.nilfs2.size,
    inspect(view) {
      const { s_rev_level, s_uuid, s_volume_name } = disk.nilfs2.at(view);
      if (s_rev_level !== disk.nilfs2Revision) return undefined;
      return { uuid: formatUuid(s_uuid), label: decodeText(s_volume_name) };
    },
  },
  {
    type: 'ocfs2',
    usage: 'filesystem',
    marks: [1, 2, 4, 8].map((size) => at(size * kibibyte, 0, 'OCFSV2')),
  },
  { type: 'ocfs', usage: 'filesystem', marks: [at(8 * kibibyte, 0, 'OracleCFS')] },
  {
    type: 'gfs2',
    usage: 'filesystem',
    marks: [at(64 * kibibyte, 0, [0x01, 0x16, 0x19, 0x70])],
    size: disk.gfs2.size,
    inspect: (view) => (disk.gfs2.at(view).sb_fs_format === disk.gfsFormat ? { type: 'gfs' } : {}),
  },
  {
    type: 'apfs',
    usage: 'filesystem',
    marks: [at(0, 32, 'NXSB')],
    size: disk.apfs.size,
    inspect: (view) => ({ uuid: formatUuid(disk.apfs.at(view).nx_uuid) }),
  },
  {
    type: 'hfsplus',
    usage: 'filesystem',
    marks: [at(superblock, 0, 'H+'), at(superblock, 0, 'HX')],
    size: disk.hfsPlus.size,
    inspect(view) {
      const { version, blockSize } = disk.hfsPlus.at(view);
      return [4, 5].includes(version) && isPowerOfTwo(blockSize) && blockSize >= 512 ? {} : undefined;
    },
  },
  {
    type: 'hfs',
    usage: 'filesystem',
    marks: [at(superblock, 0, 'BD')],
    size: disk.hfs.size,
    inspect(view) {
      const { drAlBlkSiz, drEmbedSigWord } = disk.hfs.at(view);
      if (drAlBlkSiz === 0 || drAlBlkSiz % 512 !== 0) return undefined;
      return drEmbedSigWord === 'H+' || drEmbedSigWord === 'HX' ? { type: 'hfsplus' } : {};
    },
    weak: true,
  },
  {
    type: 'minix',
    usage: 'filesystem',
    marks: [
      ...[
        [0x7f, 0x13],
        [0x8f, 0x13],
        [0x68, 0x24],
        [0x78, 0x24],
      ].flatMap((magic) => [at(superblock, 16, magic), at(superblock, 16, magic.toReversed())]),
      at(superblock, 24, [0x5a, 0x4d]),
      at(superblock, 24, [0x4d, 0x5a]),
    ],
    size: disk.minix.size,
    inspect(view) {
      const { s_log_zone_size, ext_magic } = disk.minix.at(view);
      return s_log_zone_size === 0 && ext_magic !== disk.extMagic ? {} : undefined;
    },
    weak: true,
  },
  {
    type: 'ufs',
    usage: 'filesystem',
    marks: [0, 8, 64, 256].flatMap((base) => ufsMagics.map((magic) => at(base * kibibyte, 1372, magic))),
  },
  { type: 'hpfs', usage: 'filesystem', marks: [at(8 * kibibyte, 0, [0x49, 0xe8, 0x95, 0xf9])] },
  {
    type: 'vxfs',
    usage: 'filesystem',
    marks: [at(superblock, 0, [0xf5, 0xfc, 0x01, 0xa5]), at(8 * kibibyte, 0, [0xa5, 0x01, 0xfc, 0xf5])],
  },
  {
    type: 'cramfs',
    usage: 'filesystem',
    marks: [at(0, 0, [0x45, 0x3d, 0xcd, 0x28]), at(0, 0, [0x28, 0xcd, 0x3d, 0x45])],
  },
  { type: 'romfs', usage: 'filesystem', marks: [at(0, 0, '-rom1fs-')] },
  {
    type: 'befs',
    usage: 'filesystem',
    marks: [0, 0x200].flatMap((base) => ['BFS1', '1SFB'].map((m) => at(base, 32, m))),
  },
  { type: 'bfs', usage: 'filesystem', marks: [at(0, 0, [0xce, 0xfa, 0xad, 0x1b])] },
  { type: 'ubifs', usage: 'filesystem', marks: [at(0, 0, [0x31, 0x18, 0x10, 0x06])] },
  { type: 'zonefs', usage: 'filesystem', marks: [at(0, 0, 'SFOZ')] },
  { type: 'exfs', usage: 'filesystem', marks: [at(0, 0, 'EXFS')] },
  { type: 'nss', usage: 'filesystem', marks: [at(4 * kibibyte, 0, 'SPB5')] },
];

/** The signature word alone is in every boot sector: the parameters must make sense. */
function inspectFat(view: DataView): Identity | undefined {
  const boot = disk.fat.at(view);
  const large = disk.fat32.at(view);
  const sane =
    isPowerOfTwo(boot.BPB_BytsPerSec) &&
    boot.BPB_BytsPerSec >= 512 &&
    boot.BPB_BytsPerSec <= 4096 &&
    isPowerOfTwo(boot.BPB_SecPerClus) &&
    boot.BPB_RsvdSecCnt > 0 &&
    (boot.BPB_NumFATs === 1 || boot.BPB_NumFATs === 2) &&
    (boot.BPB_Media === 0xf0 || boot.BPB_Media >= 0xf8) &&
    (boot.BPB_FATSz16 > 0 || large.BPB_FATSz32 > 0);
  if (!sane) return undefined;
  return { uuid: serialNumber(boot.BPB_FATSz16 === 0 ? large.BS_VolID : boot.BS_VolID) };
}

/** The UUID is the time of its last change, or of its making. */
function inspectIso9660(view: DataView): Identity {
  const { volume_id, created, modified } = disk.iso9660.at(view);
  const time = [modified, created].find((digits) => /^\d{16}$/.test(digits) && !/^0+$/.test(digits));
  return {
    label: decodeText(volume_id),
    uuid: time?.replace(/^(\d{4})(..)(..)(..)(..)(..)(..)$/, '$1-$2-$3-$4-$5-$6-$7'),
  };
}
