import { viewOf } from '../../binary/layout.js';
import { formatUuid } from '../../binary/uuid.js';
import { decodeText } from '../text.js';
import * as disk from './on-disk.js';
import { at, beforeEnd, type Identity, kibibyte, mebibyte, type Signature, sector, type Where } from './signature.js';

/**
 * All that may stand in a partition and holds something else, or is a part of something larger. What it holds is not
 * disktool's to change. Offsets: the documents named in on-disk.ts, and libblkid(3), which knows the same.
 */

const inside = (where: Where, sectors: bigint) => where.offset === sectors * BigInt(sector);

const mdBytes = [0xfc, 0x4e, 0x2b, 0xa9];
const mdBytesBig = [0xa9, 0x2b, 0x4e, 0xfc];
const mdReserved = 64 * kibibyte;
const bcacheMagic = [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81];
const bcachefsMagic = [0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef];
const luksMagic = [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe];
const luksSecondMagic = [0x53, 0x4b, 0x55, 0x4c, 0xba, 0xbe];
const luksSecondOffsets = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096].map((size) => size * kibibyte);
const stratisMagic = '!Stra0tis\x86\xff\x02^\x41rh';
const promiseSectors = [63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087];

export const containers: readonly Signature[] = [
  {
    type: 'linux_raid_member',
    usage: 'raid',
    marks: [mdBytes, mdBytesBig].map((magic) => beforeEnd(mdReserved, mdReserved, 0, magic)),
    size: disk.md0.size,
    inspect: inspectMd0,
    hides: ['*'],
  },
  {
    type: 'linux_raid_member',
    usage: 'raid',
    marks: [beforeEnd(8 * kibibyte, 4 * kibibyte, 0, mdBytes)],
    size: disk.md1.size,
    inspect: inspectMd1,
    hides: ['*'],
  },
  {
    type: 'linux_raid_member',
    usage: 'raid',
    marks: [at(0, 0, mdBytes), at(4 * kibibyte, 0, mdBytes)],
    size: disk.md1.size,
    inspect: inspectMd1,
  },
  {
    type: 'drbd',
    usage: 'raid',
    marks: [0x6b, 0x6c, 0x6d].map((last) => beforeEnd(4 * kibibyte, 4 * kibibyte, 60, [0x83, 0x74, 0x02, last])),
    hides: ['*'],
  },
  ...fakeRaid('isw_raid_member', [2], 'Intel Raid ISM Cfg Sig. '),
  ...fakeRaid('ddf_raid_member', [1, 257], [0xde, 0x11, 0xde, 0x11]),
  ...fakeRaid('lsi_mega_raid_member', [1], '$XIDE$'),
  ...fakeRaid('nvidia_raid_member', [2], 'NVIDIA  '),
  ...fakeRaid('promise_fasttrack_raid_member', promiseSectors, 'Promise Technology, Inc.'),
  ...fakeRaid('adaptec_raid_member', [1], [0x37, 0xfc, 0x4d, 0x1e]),
  ...fakeRaid('hpt45x_raid_member', [11], [0xf3, 0x16, 0x78, 0x5a]),
  {
    type: 'hpt37x_raid_member',
    usage: 'raid',
    marks: [0xf0, 0xfd].map((first) => at(9 * sector, 32, [first, 0x16, 0x78, 0x5a])),
  },
  {
    type: 'bcache',
    usage: 'other',
    marks: [at(4 * kibibyte, 24, bcacheMagic)],
    size: disk.bcache.size,
    inspect(view, where) {
      const { offset, uuid, label } = disk.bcache.at(view);
      return inside(where, offset) ? { uuid: formatUuid(uuid), label: decodeText(label) } : undefined;
    },
    hides: ['bcachefs'],
  },
  {
    type: 'bcachefs',
    usage: 'filesystem',
    marks: [
      at(4 * kibibyte, 24, bcachefsMagic),
      at(4 * kibibyte, 24, bcacheMagic),
      at(2 * mebibyte, 24, bcachefsMagic),
      beforeEnd(mebibyte, 1, 24, bcachefsMagic),
    ],
    size: disk.bcachefs.size,
    inspect(view, where) {
      const { offset, user_uuid, label } = disk.bcachefs.at(view);
      return inside(where, offset) ? { uuid: formatUuid(user_uuid), label: decodeText(label) } : undefined;
    },
  },
  { type: 'ceph_bluestore', usage: 'other', marks: [at(0, 0, 'bluestore block device')] },
  { type: 'drbdmanage_control_volume', usage: 'other', marks: [at(0, 0, '$DRBDmgr=q')] },
  { type: 'drbdproxy_datalog', usage: 'other', marks: [at(0, 0, 'DRBDdlh*')] },
  {
    type: 'LVM2_member',
    usage: 'raid',
    marks: [0, 1, 2, 3].map((number) => at(number * sector, 24, 'LVM2 001')),
    size: disk.lvmLabel.size,
    inspect(view, where) {
      const { id, sector_xl, pv_uuid } = disk.lvmLabel.at(view);
      if (id !== 'LABELONE' || !inside(where, sector_xl)) return undefined;
      return { uuid: pv_uuid.replace(/^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/, '$1-$2-$3-$4-$5-$6-$7') };
    },
  },
  {
    type: 'LVM1_member',
    usage: 'raid',
    marks: [at(0, 0, 'HM')],
    size: disk.lvm1.size,
    inspect: (view) => ([1, 2].includes(disk.lvm1.at(view).version) ? {} : undefined),
    weak: true,
  },
  { type: 'DM_snapshot_cow', usage: 'other', marks: [at(0, 0, 'SnAp')] },
  { type: 'DM_verity_hash', usage: 'crypto', marks: [at(0, 0, 'verity\0\0')] },
  { type: 'DM_integrity', usage: 'crypto', marks: [at(0, 0, 'integrt\0')] },
  {
    type: 'crypto_LUKS',
    usage: 'crypto',
    marks: [at(0, 0, luksMagic), ...luksSecondOffsets.map((offset) => at(offset, 0, luksSecondMagic))],
    size: disk.luks2.size,
    inspect: inspectLuks,
  },
  { type: 'VMFS_volume_member', usage: 'raid', marks: [at(mebibyte, 0, [0x0d, 0xd0, 0x01, 0xc0])], hides: ['VMFS'] },
  { type: 'VMFS', usage: 'filesystem', marks: [at(2 * mebibyte, 0, [0x5e, 0xf1, 0xab, 0x2f])] },
  { type: 'ubi', usage: 'raid', marks: [at(0, 0, 'UBI#')] },
  { type: 'vdo', usage: 'other', marks: [at(0, 0, 'dmvdo001')] },
  { type: 'stratis', usage: 'raid', marks: [1, 9].map((number) => at(number * sector, 4, stratisMagic)) },
  {
    type: 'BitLocker',
    usage: 'crypto',
    marks: [at(0, 3, '-FVE-FS-'), at(0, 0x1a8, [...disk.bitlockerToGo])],
    hides: ['vfat'],
  },
  { type: 'oracleasm', usage: 'other', marks: [at(0, 32, 'ORCLDISK')] },
];

/** A disk of a controller's RAID, or of its firmware's: some sectors before the end, a name. */
function fakeRaid(type: string, sectors: readonly number[], magic: string | readonly number[]): Signature[] {
  return [
    { type, usage: 'raid', marks: sectors.map((count) => beforeEnd(count * sector, sector, 0, magic)), hides: ['*'] },
  ];
}

/** Version 0.90 has no place in it that says where it stands; its version must do. */
function inspectMd0(view: DataView): Identity | undefined {
  const little = disk.md0.at(view);
  const found = little.md_magic === disk.mdMagic ? little : disk.md0Big.at(view);
  if (found.major_version !== 0) return undefined;
  const uuid = new Uint8Array(16);
  const words = [found.set_uuid0, found.set_uuid1, found.set_uuid2, found.set_uuid3];
  words.forEach((word, i) => {
    viewOf(uuid).setUint32(i * 4, word);
  });
  return { uuid: formatUuid(uuid) };
}

function inspectMd1(view: DataView, where: Where): Identity | undefined {
  const { major_version, super_offset, set_uuid, set_name } = disk.md1.at(view);
  if (major_version !== 1 || !inside(where, super_offset)) return undefined;
  return { uuid: formatUuid(set_uuid), label: decodeText(set_name) };
}

/** The second header of LUKS2 counts as well: the first may be all that was lost. */
function inspectLuks(view: DataView, where: Where): Identity | undefined {
  const { version, label, uuid, hdr_offset } = disk.luks2.at(view);
  if (version === 1 && where.offset === 0n) return { uuid: decodeText(uuid) };
  if (version !== 2 || hdr_offset !== where.offset) return undefined;
  return { uuid: decodeText(uuid), label: decodeText(label) };
}
