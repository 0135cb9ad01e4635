import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { RangeSet } from '../../src/binary/range-set.js';
import type { BlockDevice } from '../../src/device/block-device.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { DiskError } from '../../src/error/disk-error.js';
import { probe } from '../../src/filesystem/probe.js';
import { md0, md1, mdMagic } from '../../src/filesystem/signature/on-disk.js';
import { needs, nightly } from '../support/needs.js';
import { openRaw } from '../support/raw-device.js';
import { attempt, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const size = 16n << 20n;

async function image(name = 'image', bytes: bigint = size): Promise<string> {
  const path = join(await temporaryFolder(), name);
  await writeFile(path, '');
  await truncate(path, Number(bytes));
  return path;
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** As md_p.h has them: mdadm, which reads them too, is asked whether they are right. */
async function writeMd0(device: BlockDevice): Promise<void> {
  const raw = Buffer.alloc(4096);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  const uuid = { set_uuid0: 0x11223344, set_uuid1: 0x55667788, set_uuid2: 0x99aabbcc, set_uuid3: 0xddeeff00 };
  md0.put(view, { md_magic: mdMagic, major_version: 0, minor_version: 90, ...uuid });
  await device.write(raw, device.facts.size - 65536n);
}

async function writeMd1(device: BlockDevice, offset: bigint): Promise<void> {
  const raw = Buffer.alloc(256);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  md1.put(view, {
    magic: mdMagic,
    major_version: 1,
    set_uuid: Uint8Array.from({ length: 16 }, (_, i) => i + 1),
    super_offset: offset / 512n,
  });
  raw.write('host:0', 32);
  // The sum of all words, folded once, with its own field left out (md_p.h, sb_csum).
  let sum = 0n;
  for (let i = 0; i < raw.length; i += 4) sum += BigInt(raw.readUInt32LE(i));
  raw.writeUInt32LE(Number(((sum & 0xffffffffn) + (sum >> 32n)) & 0xffffffffn), 216);
  await device.write(raw, offset);
}

describe('probe, of members of an MD array', () => {
  needs({ programs: ['mke2fs', 'mdadm', 'blkid'] })(
    'never takes a mirror half of version 0.90 or 1.0 for the ext4 that it holds',
    async () => {
      for (const version of ['0.90', '1.0']) {
        const path = await image(version);
        await run('mke2fs', ['-Fqt', 'ext4', path, '15M']);
        await using device = await openRaw(path, { writable: true });
        expect(await probe(device)).toMatchObject({ kind: 'one', match: { type: 'ext' } });
        await (version === '0.90' ? writeMd0(device) : writeMd1(device, size - 8192n));
        const { stdout } = await attempt('mdadm', ['--examine', path]);
        expect(stdout).toContain(`Version : ${version}`);
        const theirs = await run('blkid', ['-p', '-o', 'value', '-s', 'TYPE', '-s', 'UUID', path]);
        const ours = await probe(device);
        expect(ours).toMatchObject({ kind: 'one', match: { type: 'linux_raid_member', usage: 'raid' } });
        if (ours.kind === 'one') expect(theirs.split('\n').sort()).toEqual([ours.match.uuid, ours.match.type].sort());
      }
    },
  );

  needs({ programs: ['mdadm', 'blkid'] })('knows version 1.1 and 1.2', async () => {
    for (const [version, offset] of [
      ['1.1', 0n],
      ['1.2', 4096n],
    ] as const) {
      const path = await image(version);
      await using device = await openRaw(path, { writable: true });
      await writeMd1(device, offset);
      const { stdout } = await attempt('mdadm', ['--examine', path]);
      expect(stdout).toContain(`Version : ${version}`);
      const theirs = await run('blkid', ['-p', '-o', 'value', '-s', 'LABEL', path]);
      expect(await probe(device)).toMatchObject({ kind: 'one', match: { type: 'linux_raid_member', label: theirs } });
    }
  });

  test('ignores an MD superblock that says it belongs elsewhere', async () => {
    await using device = memoryDevice(size);
    await writeMd1(device, 4096n);
    const copy = Buffer.alloc(256);
    await device.read(copy, 4096n);
    await device.zero(4096n, 256n);
    await device.write(copy, 0n);
    expect(await probe(device)).toEqual({ kind: 'none' });
  });
});

describe('probe, where more than one format claims a device', () => {
  /** An ext4 by mke2fs, and then magic bytes of something else. */
  const claims: Record<string, readonly (readonly [bigint, string])[]> = {
    LVM2_member: [[512n, `LABELONE\x01${'\0'.repeat(15)}LVM2 001`]],
    crypto_LUKS: [[0n, `LUKS\xba\xbe\0\x01`]],
    swap: [[4086n, 'SWAPSPACE2']],
    xfs: [[0n, 'XFSB']],
    btrfs: [[65536n + 64n, '_BHRfS_M']],
    ntfs: [[3n, 'NTFS    ']],
    VMFS_volume_member: [[1n << 20n, '\x0d\xd0\x01\xc0']],
    swsuspend: [[4086n, 'S1SUSPEND']],
  };
  for (const [type, marks] of Object.entries(claims)) {
    needs({ programs: ['mke2fs'] })(`calls ${type} over an ext superblock ambiguous`, async () => {
      const path = await image();
      await run('mke2fs', ['-Fqt', 'ext4', path]);
      await using device = await openRaw(path, { writable: true });
      for (const [offset, magic] of marks) await device.write(bytes(magic), offset);
      const found = await probe(device);
      expect(found.kind).toBe('ambiguous');
      if (found.kind === 'ambiguous')
        expect(found.matches.map((match) => match.type).sort()).toEqual(['ext', type].sort());
    });
  }

  test('lets a DVD carry UDF and ISO 9660 together, as blkid does', async () => {
    await using device = memoryDevice(size);
    await device.write(bytes('CD001'), 32769n);
    await device.write(bytes('NSR02'), 32769n + 4096n);
    expect(await probe(device)).toMatchObject({ kind: 'one', match: { type: 'udf' } });
  });

  needs({ programs: ['mke2fs'] })('does not take the counters of an ext superblock for minix or HFS', async () => {
    const path = await image();
    await run('mke2fs', ['-Fqt', 'ext4', path]);
    await using device = await openRaw(path, { writable: true });
    await device.write(Uint8Array.of(0x48, 0x2b, 0, 0), 1024n);
    await device.write(Uint8Array.of(0x7f, 0x13, 0, 0), 1024n + 16n);
    expect(await probe(device)).toMatchObject({ kind: 'one', match: { type: 'ext' } });
  });

  test('leaves out what lies in the ranges of somebody else', async () => {
    await using device = memoryDevice(size);
    await device.write(bytes('_BHRfS_M'), 65536n + 64n);
    expect(await probe(device)).toMatchObject({ kind: 'one' });
    const covered = RangeSet.of([{ offset: 65536n, length: 1n << 20n }]);
    expect(await probe(device, { covered })).toEqual({ kind: 'none' });
  });
});

describe('probe, of anything at all', () => {
  test.each([0n, 1n, 511n, 512n, 1081n, 4096n, 65535n, 65536n, 131072n])('looks at %s bytes', async (tiny) => {
    await using device = memoryDevice(tiny);
    expect(await probe(device)).toEqual({ kind: 'none' });
  });

  test('ends well on a disk of 2^63-1 bytes', async () => {
    await using device = memoryDevice(2n ** 63n - 1n);
    expect(await probe(device)).toEqual({ kind: 'none' });
  });

  test('never fails on random bytes around real magic', { timeout: 600_000 }, async () => {
    await using device = memoryDevice(8n << 20n);
    let seed = 42;
    const random = () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed >>> 8;
    };
    const spots = [0n, 512n, 1024n, 4096n, 8192n, 32768n, 65536n, (8n << 20n) - 65536n, (8n << 20n) - 8192n];
    const magics = [
      'LABELONE',
      'LVM2 001',
      'SWAPSPACE2',
      'XFSB',
      'LUKS\xba\xbe\0\x02',
      'S1SUSPEND',
      '\x53\xef',
      '\xfc\x4e\x2b\xa9',
      'NTFS    ',
      '\x55\xaa',
      'CD001',
      'ReIsEr4',
    ];
    for (let round = 0; round < (nightly ? 20_000 : 500); round++) {
      const spot = spots[random() % spots.length] ?? 0n;
      const noise = Buffer.from(Array.from({ length: 256 }, () => random() % 256));
      await device.write(noise, spot + BigInt(random() % 600));
      const magic = bytes(magics[random() % magics.length] ?? '');
      await device.write(magic, spot + BigInt(random() % 1100));
      try {
        await probe(device);
      } catch (error) {
        expect(error).toBeInstanceOf(DiskError);
      }
    }
  });
});
