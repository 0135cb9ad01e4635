import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { findFreeSpace } from '../../src/guest/free-space.js';
import { openGuest } from '../../src/guest/guest.js';
import { guestImage, guestUuids } from '../support/guest-image.js';
import { needs } from '../support/needs.js';
import { openRaw } from '../support/raw-device.js';
import { run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['sfdisk', 'mke2fs', 'mkswap', 'blkid'] });
const mebibyte = 1 << 20;

async function patch(path: string, offset: number, bytes: Uint8Array | string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.from(bytes), 0, undefined, offset);
}

async function blank(size: number): Promise<string> {
  const path = join(await temporaryFolder(), 'disk.img');
  await writeFile(path, '');
  await truncate(path, size);
  return path;
}

describe('openGuest', () => {
  for (const label of ['gpt', 'dos'] as const) {
    it(`finds what sfdisk, mke2fs and mkswap put on a disk with a ${label} table`, async () => {
      await using disk = await openRaw(await guestImage(label));
      const guest = await openGuest(disk);
      expect(guest.volumes.map(({ name, placement, device }) => [name, placement.offset, device.facts.size])).toEqual([
        ['/dev/sda1', 1n << 20n, 32n << 20n],
        ['/dev/sda2', 34n << 20n, 8n << 20n],
        ['/dev/sda3', 44n << 20n, 4n << 20n],
      ]);
      expect(guest.volumes.map(({ content }) => content.kind)).toEqual(['filesystem', 'swap', 'unknown']);
      expect(guest.volumes.map(({ problem }) => problem)).toEqual([undefined, undefined, undefined]);
      expect(guest.hibernated).toBeUndefined();
      const [root] = guest.volumes;
      expect(root?.content).toMatchObject({ filesystem: { type: 'ext4', label: 'root', uuid: guestUuids.root } });
    });
  }

  it('calls a disk without a table by its own name', async () => {
    const path = await blank(16 * mebibyte);
    await run('mke2fs', ['-Fqt', 'ext4', path]);
    await using disk = await openRaw(path);
    const guest = await openGuest(disk);
    expect(guest.volumes).toHaveLength(1);
    expect(guest.volumes[0]).toMatchObject({
      name: '/dev/sda',
      placement: { offset: 0n },
      content: { kind: 'filesystem' },
    });
    expect(guest.volumes[0]?.problem).toBeUndefined();
  });

  it('finds one unknown volume on an empty disk', async () => {
    await using disk = await openRaw(await blank(mebibyte));
    const guest = await openGuest(disk);
    expect(guest.volumes).toMatchObject([{ name: '/dev/sda', content: { kind: 'unknown' } }]);
  });

  it('holds a hibernation image in swap against the whole guest', async () => {
    const path = await guestImage();
    await patch(path, 34 * mebibyte + 4086, 'S1SUSPEND\0');
    await using disk = await openRaw(path);
    const guest = await openGuest(disk);
    expect(guest.hibernated).toContain('/dev/sda2');
    expect(guest.hibernated).toContain('S1SUSPEND');
  });

  it('holds it against the guest also where the swap is ambiguous', async () => {
    const path = await guestImage();
    await patch(path, 34 * mebibyte + 4086, 'S1SUSPEND\0');
    await patch(path, 34 * mebibyte, 'XFSB');
    await using disk = await openRaw(path);
    const guest = await openGuest(disk);
    expect(guest.volumes[1]?.content.kind).toBe('ambiguous');
    expect(guest.hibernated).toContain('/dev/sda2');
  });

  it('has a problem with a filesystem that is larger than its partition', async () => {
    const path = await guestImage();
    await run('sfdisk', ['-q', '-N1', path], { stdin: 'pipe', input: ',16MiB\n' });
    await using disk = await openRaw(path);
    const { volumes } = await openGuest(disk);
    expect(volumes[0]?.problem).toContain(`${32 * mebibyte} bytes, and there are only ${16 * mebibyte}`);
  });

  it('has a problem with a swap area that is larger than its partition', async () => {
    const path = await guestImage();
    await run('sfdisk', ['-q', '-N2', path], { stdin: 'pipe', input: ',4MiB\n' });
    await using disk = await openRaw(path);
    const { volumes } = await openGuest(disk);
    expect(volumes[1]?.content).toMatchObject({ kind: 'swap', swap: { state: { kind: 'damaged' } } });
  });

  it('has a problem with the partitions of a disk that is itself a member of a fake RAID', async () => {
    const path = await guestImage('dos');
    await patch(path, 64 * mebibyte - 1024, 'Intel Raid ISM Cfg Sig. 1.0.00');
    await using disk = await openRaw(path);
    const { volumes, warnings } = await openGuest(disk);
    for (const { problem } of volumes) expect(problem).toContain('isw_raid_member');
    expect(warnings.join()).toContain('isw_raid_member');
  });

  it('has a problem with a relic of a filesystem beside an MBR', async () => {
    const path = await blank(64 * mebibyte);
    await run('mke2fs', ['-Fqt', 'ext4', path]);
    await run('sfdisk', ['-q', '--wipe', 'never', path], {
      stdin: 'pipe',
      input: 'label: dos\nstart=32MiB, size=8MiB\n',
    });
    await using disk = await openRaw(path);
    const { volumes } = await openGuest(disk);
    expect(volumes[0]?.problem).toContain('ext');
  });

  it('has a problem with partitions that overlap, and with one past the end of the disk', async () => {
    const path = await guestImage('dos');
    // sfdisk refuses to make them: the third entry of the MBR, its first sector and its count of sectors.
    const entry = Buffer.alloc(8);
    entry.writeUInt32LE(40 * 2048, 0);
    entry.writeUInt32LE(8 * 2048, 4);
    await patch(path, 446 + 2 * 16 + 8, entry);
    {
      await using disk = await openRaw(path);
      const { volumes } = await openGuest(disk);
      expect(volumes.map(({ problem }) => problem?.includes('shares bytes') ?? false)).toEqual([false, true, true]);
    }
    await truncate(path, 45 * mebibyte);
    await using disk = await openRaw(path);
    const { volumes } = await openGuest(disk);
    expect(volumes[2]?.problem).toBeDefined();
    expect(volumes[2]?.device.facts.size).toBe(5n << 20n);
  });

  it('lists an ext4 whose superblock makes no sense as damaged', async () => {
    const path = await guestImage();
    await patch(path, mebibyte + 1024 + 0x18, Uint8Array.of(40, 0, 0, 0));
    await using disk = await openRaw(path);
    const { volumes } = await openGuest(disk);
    expect(volumes[0]?.content).toMatchObject({ kind: 'damaged', type: 'ext' });
  });

  it('holds an extended partition to be none that anything may be free in', async () => {
    const path = await blank(64 * mebibyte);
    const script = 'label: dos\nstart=1MiB, size=8MiB\nstart=10MiB, size=40MiB, type=5\nstart=11MiB, size=16MiB\n';
    await run('sfdisk', ['-q', path], { stdin: 'pipe', input: script });
    await run('mke2fs', ['-Fqt', 'ext4', '-E', `offset=${11 * mebibyte}`, path, '16M']);
    await using disk = await openRaw(path);
    const { volumes } = await openGuest(disk);
    expect(volumes.map(({ name, content, problem }) => [name, content.kind, problem])).toEqual([
      ['/dev/sda1', 'unknown', undefined],
      ['/dev/sda2', 'extended', undefined],
      ['/dev/sda5', 'filesystem', undefined],
    ]);
  });

  const owned = [
    ['dos', '42', 'LDM'],
    ['gpt', 'AF9B60A0-1431-4F62-BC68-3311714A69AD', 'LDM'],
    ['gpt', 'E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D', 'storage-spaces'],
  ] as const;
  for (const [label, type, owner] of owned) {
    it(`takes nothing apart in a partition of the type ${type} (${label}), and finds it by its label`, async () => {
      const path = await guestImage(label);
      await run('sfdisk', ['-q', '--part-type', path, '1', type]);
      await using disk = await openRaw(path);
      const guest = await openGuest(disk);
      expect(guest.volumes[0]?.content).toMatchObject({ kind: 'recognised', type: owner, label: 'root' });
      const { volumes } = await findFreeSpace(guest);
      expect(volumes[0]).toMatchObject({ leftAlone: { kind: 'unsupported', reason: `${owner} is not supported` } });
      expect(volumes[0]?.free.count).toBe(0);
    });
  }
});
