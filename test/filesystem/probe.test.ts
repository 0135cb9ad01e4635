import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { probe } from '../../src/filesystem/probe.js';
import { needs, type Program } from '../support/needs.js';
import { openRaw } from '../support/raw-device.js';
import { attempt, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

/** What blkid, probing the same file, says of its type and UUID; LABEL where the format's first structure has it. */
async function blkid(image: string): Promise<Record<string, string>> {
  const { stdout } = await attempt('blkid', ['-p', '-o', 'export', image]);
  return Object.fromEntries(
    stdout
      .split('\n')
      .filter((line) => line.includes('='))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1).replaceAll('\\', '')]),
  );
}

interface Made {
  readonly type: string;
  readonly size: string | number;
  readonly tool: Program;
  readonly args: (image: string) => readonly string[];
  readonly labelled?: boolean;
}
const mebibyte = 1024 * 1024;
const ext = ['ext2', 'ext3', 'ext4'];
const made: Record<string, Made> = {
  ext2: { type: 'ext', size: 8 * mebibyte, tool: 'mke2fs', args: (f) => ['-Fqt', 'ext2', f] },
  ext3: { type: 'ext', size: 16 * mebibyte, tool: 'mke2fs', args: (f) => ['-Fqt', 'ext3', f] },
  ext4: { type: 'ext', size: 16 * mebibyte, tool: 'mke2fs', args: (f) => ['-Fqt', 'ext4', '-L', 'é root', f] },
  'an ext journal': { type: 'jbd', size: 16 * mebibyte, tool: 'mke2fs', args: (f) => ['-FqO', 'journal_dev', f] },
  xfs: { type: 'xfs', size: 320 * mebibyte, tool: 'mkfs.xfs', args: (f) => ['-q', '-L', 'data', f], labelled: true },
  btrfs: { type: 'btrfs', size: 128 * mebibyte, tool: 'mkfs.btrfs', args: (f) => ['-qL', 'snap', f], labelled: true },
  ntfs: { type: 'ntfs', size: 8 * mebibyte, tool: 'mkfs.ntfs', args: (f) => ['-qFf', f] },
  'FAT 12': { type: 'vfat', size: 2 * mebibyte, tool: 'mkfs.fat', args: (f) => ['-F12', f] },
  'FAT 16': { type: 'vfat', size: 16 * mebibyte, tool: 'mkfs.fat', args: (f) => ['-F16', f] },
  'FAT 32': { type: 'vfat', size: 64 * mebibyte, tool: 'mkfs.fat', args: (f) => ['-F32', f] },
  exfat: { type: 'exfat', size: 8 * mebibyte, tool: 'mkfs.exfat', args: (f) => [f] },
  f2fs: { type: 'f2fs', size: 64 * mebibyte, tool: 'mkfs.f2fs', args: (f) => ['-ql', 'flash', f], labelled: true },
  swap: { type: 'swap', size: 8 * mebibyte, tool: 'mkswap', args: (f) => ['-L', 'swp', f] },
  'swap of 64 KiB pages': { type: 'swap', size: 8 * mebibyte, tool: 'mkswap', args: (f) => ['-p', '65536', f] },
  LUKS1: {
    type: 'crypto_LUKS',
    size: 32 * mebibyte,
    tool: 'cryptsetup',
    args: (f) => ['luksFormat', '--type', 'luks1', '-q', '--iter-time', '1', '--key-file', '/proc/version', f],
  },
  LUKS2: {
    type: 'crypto_LUKS',
    size: 32 * mebibyte,
    tool: 'cryptsetup',
    args: (f) => [
      ...['luksFormat', '--type', 'luks2', '--label', 'vault', '-q', '--pbkdf', 'pbkdf2', '--pbkdf-force-iterations'],
      ...['1000', '--key-file', '/proc/version', f],
    ],
    labelled: true,
  },
  'a bcache backing device': { type: 'bcache', size: 16 * mebibyte, tool: 'make-bcache', args: (f) => ['-B', f] },
  'a bcache cache': { type: 'bcache', size: 128 * mebibyte, tool: 'make-bcache', args: (f) => ['-C', f] },
};

describe('probe, beside blkid', () => {
  for (const [what, { type, size, tool, args, labelled = false }] of Object.entries(made)) {
    needs({ programs: ['blkid', tool] })(`knows ${what}`, async () => {
      const image = join(await temporaryFolder(), 'image');
      await writeFile(image, '');
      await truncate(image, Number(size));
      await run(tool, args(image));
      const theirs = await blkid(image);
      await using device = await openRaw(image);
      const ours = await probe(device);
      expect(ours).toMatchObject({ kind: 'one', match: { type } });
      if (ours.kind !== 'one') return;
      expect(type === 'ext' ? ext : [type]).toContain(theirs.TYPE);
      if (type === 'ext' || type === 'swap') return;
      expect(ours.match.uuid).toBe(theirs.UUID ?? '');
      if (labelled) expect(ours.match.label).toBe(theirs.LABEL);
    });
  }

  needs({ programs: ['blkid', 'mksquashfs'] })('knows squashfs', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'a'), 'a');
    await run('mksquashfs', [join(folder, 'a'), join(folder, 'image'), '-quiet', '-no-progress']);
    expect((await blkid(join(folder, 'image'))).TYPE).toBe('squashfs');
    await using device = await openRaw(join(folder, 'image'));
    expect(await probe(device)).toMatchObject({ kind: 'one', match: { type: 'squashfs' } });
  });

  needs({ programs: ['blkid', 'genisoimage'] })('knows ISO 9660 with its label and UUID', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'a'), 'a');
    await run('genisoimage', ['-quiet', '-V', 'CD 1', '-o', join(folder, 'image'), join(folder, 'a')]);
    const { TYPE: type, LABEL: label, UUID: uuid } = await blkid(join(folder, 'image'));
    await using device = await openRaw(join(folder, 'image'));
    expect(await probe(device)).toMatchObject({ kind: 'one', match: { type, label, uuid } });
  });

  needs({ programs: ['blkid', 'lvm'] })('knows an LVM2 physical volume', async () => {
    const image = join(await temporaryFolder(), 'image');
    await writeFile(image, '');
    await truncate(image, 64 * mebibyte);
    // pvcreate takes only block devices: the label as lvm2's label.h and layout.h have it, found by blkid.
    const label = Buffer.alloc(512);
    label.write('LABELONE', 0);
    label.writeBigUInt64LE(1n, 8);
    label.writeUInt32LE(32, 20);
    label.write('LVM2 001', 24);
    label.write('abcdefghijklmnopqrstuvwxyz012345', 32);
    label.writeUInt32LE(lvmCrc(label.subarray(20)), 16);
    await patch(image, 512, label);
    const theirs = await blkid(image);
    expect(theirs.TYPE).toBe('LVM2_member');
    await using device = await openRaw(image);
    expect(await probe(device)).toMatchObject({ kind: 'one', match: { type: 'LVM2_member', uuid: theirs.UUID } });
  });
});

/** The CRC of lvm2's labels: polynomial 0xedb88320, begun with 0xf597a6cf, not inverted. */
function lvmCrc(bytes: Uint8Array): number {
  let crc = 0xf597a6cf;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ ((crc & 1) * 0xedb88320);
  }
  return crc >>> 0;
}

async function patch(image: string, offset: number, bytes: Uint8Array | string): Promise<void> {
  await using file = await open(image, 'r+');
  await file.write(Buffer.from(bytes), 0, undefined, offset);
}

const size = 64 * mebibyte;
/** Magic bytes in an empty image of 64 MiB, where the formats' documents put them; `blkid` where it takes them for it. */
const patched: Record<string, { type: string; at: readonly (readonly [number, string])[]; blkid?: boolean }> = {
  BitLocker: { type: 'BitLocker', at: [[0, 'eb58902d4656452d46532d']] },
  'BitLocker To Go': {
    type: 'BitLocker',
    at: [
      [0, 'eb58904d5357494e342e31'],
      [0x1a8, '3bd66749292ed84a8399f6a339e3d001'],
    ],
  },
  'a VMFS volume': { type: 'VMFS_volume_member', at: [[mebibyte, '0dd001c0']], blkid: true },
  VMFS: { type: 'VMFS', at: [[2 * mebibyte, '5ef1ab2f']], blkid: true },
  ReFS: { type: 'ReFS', at: [[0, '0000005265465300']] },
  bcachefs: {
    type: 'bcachefs',
    at: [
      [4096 + 24, 'c68573f666ce90a9d96a60cf803df7ef'],
      [4096 + 104, '0800000000000000'],
    ],
  },
  'DRBD 8': { type: 'drbd', at: [[size - 4096 + 60, '8374026b']], blkid: true },
  'DRBD 9': { type: 'drbd', at: [[size - 4096 + 60, '8374026d']] },
  'Ceph BlueStore': {
    type: 'ceph_bluestore',
    at: [[0, Buffer.from('bluestore block device').toString('hex')]],
    blkid: true,
  },
  'an Intel RAID': {
    type: 'isw_raid_member',
    at: [[size - 1024, Buffer.from('Intel Raid ISM Cfg Sig. 1.0.00').toString('hex')]],
    blkid: true,
  },
  'a Promise RAID': {
    type: 'promise_fasttrack_raid_member',
    at: [[size - 63 * 512, Buffer.from('Promise Technology, Inc.').toString('hex')]],
    blkid: true,
  },
  'an Adaptec RAID': { type: 'adaptec_raid_member', at: [[size - 512, '37fc4d1e']] },
  'a device-mapper snapshot': { type: 'DM_snapshot_cow', at: [[0, '536e4170']], blkid: true },
  VDO: { type: 'vdo', at: [[0, Buffer.from('dmvdo001').toString('hex')]] },
  'ZFS, by its uberblocks': {
    type: 'zfs_member',
    at: [0, 1, 2, 3].map((i) => [(128 + i) * 1024, '0cb1ba0000000000'] as const),
  },
  'ZFS, by its labels': { type: 'zfs_member', at: [[16 * 1024, `0101${'00'.repeat(21)}0776657273696f6e`]] },
  'S1SUSPEND in 4 KiB pages': {
    type: 'swsuspend',
    at: [[4086, Buffer.from('S1SUSPEND').toString('hex')]],
    blkid: true,
  },
  'LINHIB0001 in 64 KiB pages': {
    type: 'swsuspend',
    at: [[65526, Buffer.from('LINHIB0001').toString('hex')]],
    blkid: true,
  },
  TuxOnIce: {
    type: 'swsuspend',
    at: [
      [0, 'edc302e99856e50c'],
      [4086, Buffer.from('SWAPSPACE2').toString('hex')],
    ],
    blkid: true,
  },
  reiserfs: { type: 'reiserfs', at: [[65536 + 0x34, Buffer.from('ReIsEr2Fs').toString('hex')]] },
  jfs: { type: 'jfs', at: [[32768, '4a465331']] },
  udf: {
    type: 'udf',
    at: [
      [32769, Buffer.from('BEA01').toString('hex')],
      [32769 + 2048, Buffer.from('NSR02').toString('hex')],
    ],
  },
  ocfs2: { type: 'ocfs2', at: [[4096, Buffer.from('OCFSV2').toString('hex')]], blkid: true },
  gfs2: { type: 'gfs2', at: [[65536, '01161970']] },
  nilfs2: { type: 'nilfs2', at: [[1024, '0200000000003434']] },
  apfs: { type: 'apfs', at: [[32, '4e585342']] },
  'HFS Plus': {
    type: 'hfsplus',
    at: [
      [1024, '482b0004'],
      [1024 + 40, '00001000'],
    ],
  },
  minix: {
    type: 'minix',
    at: [
      [1024, '2000'],
      [1024 + 16, '7f13'],
    ],
  },
  'UFS 2': { type: 'ufs', at: [[65536 + 1372, '19015419']], blkid: true },
  erofs: { type: 'erofs', at: [[1024, 'e2e1f5e0']], blkid: true },
  romfs: { type: 'romfs', at: [[0, '2d726f6d3166732d']] },
  'the second header of LUKS2': {
    type: 'crypto_LUKS',
    at: [
      [16384, '534b554cbabe0002'],
      [16384 + 256, '0000000000004000'],
    ],
  },
};

describe('probe, of formats by their documents', () => {
  for (const [what, { type, at, blkid: agrees = false }] of Object.entries(patched)) {
    needs({ programs: ['blkid'] })(`knows ${what}${agrees ? ', as blkid does' : ''}`, async () => {
      const image = join(await temporaryFolder(), 'image');
      await writeFile(image, '');
      await truncate(image, size);
      for (const [offset, magic] of at) await patch(image, offset, Buffer.from(magic, 'hex'));
      if (agrees) expect((await blkid(image)).TYPE).toBe(type);
      await using device = await openRaw(image);
      expect(await probe(device)).toMatchObject({ kind: 'one', match: { type } });
    });
  }
});

describe('probe, of a partition that was something else before', () => {
  for (const before of ['xfs', 'btrfs', 'ntfs', 'FAT 32', 'exfat', 'f2fs', 'swap', 'LUKS2']) {
    const first = made[before];
    if (first === undefined) continue;
    needs({ programs: ['mke2fs', 'blkid', first.tool] })(
      `finds ext4 alone where ${before} was, as blkid does`,
      async () => {
        const image = join(await temporaryFolder(), 'image');
        await writeFile(image, '');
        await truncate(image, Math.max(Number(first.size), 128 * mebibyte));
        await run(first.tool, first.args(image));
        await run('mke2fs', ['-Fqt', 'ext4', image]);
        expect((await blkid(image)).TYPE).toBe('ext4');
        await using device = await openRaw(image);
        expect(await probe(device)).toMatchObject({ kind: 'one', match: { type: 'ext' } });
      },
    );
  }

  needs({ programs: ['mkfs.btrfs', 'mkfs.ntfs', 'blkid'] })(
    'calls NTFS where btrfs was ambiguous, as blkid does',
    async () => {
      const image = join(await temporaryFolder(), 'image');
      await writeFile(image, '');
      await truncate(image, 128 * mebibyte);
      await run('mkfs.btrfs', ['-q', image]);
      await run('mkfs.ntfs', ['-qFf', image]);
      expect((await attempt('blkid', ['-p', image])).status).toBe(8);
      await using device = await openRaw(image);
      expect(await probe(device)).toMatchObject({ kind: 'ambiguous' });
    },
  );
});
