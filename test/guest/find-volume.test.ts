import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { findVolume } from '../../src/guest/find-volume.js';
import { openGuest } from '../../src/guest/guest.js';
import { guestImage, guestUuids } from '../support/guest-image.js';
import { needs } from '../support/needs.js';
import { openRaw } from '../support/raw-device.js';
import { run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['sfdisk', 'mke2fs', 'mkswap'] });
const mebibyte = 1 << 20;

async function blank(size: number): Promise<string> {
  const path = join(await temporaryFolder(), 'disk.img');
  await writeFile(path, '');
  await truncate(path, size);
  return path;
}

describe('findVolume', () => {
  it('finds a partition by every name that its users have for it', async () => {
    const path = await guestImage();
    await using disk = await openRaw(path);
    const guest = await openGuest(disk);
    const uuid = (await run('sfdisk', ['--part-uuid', path, '1'])).trim();
    const names = ['/dev/sda1', 'sda1', '/dev/vda1', 'xvda1', 'hda1', 'nvme0n1p1', 'mmcblk0p1', '1', 'LABEL=root'];
    const tags = [
      `UUID=${guestUuids.root}`,
      `PARTUUID=${uuid}`,
      `PARTUUID=${uuid.toLowerCase()}`,
      'PARTLABEL=the root',
    ];
    for (const name of [...names, ...tags]) expect(findVolume(guest, name), name).toBe(guest.volumes[0]);
    expect(findVolume(guest, 'LABEL=swp')).toBe(guest.volumes[1]);
    expect(findVolume(guest, `UUID=${guestUuids.swap.toUpperCase()}`)).toBe(guest.volumes[1]);
  });

  it('finds an MBR partition by the PARTUUID that blkid gives it', async () => {
    const path = await guestImage('dos');
    const id = (await run('sfdisk', ['--disk-id', path])).trim().replace('0x', '');
    await using disk = await openRaw(path);
    const guest = await openGuest(disk);
    expect(findVolume(guest, `PARTUUID=${id}-02`)).toBe(guest.volumes[1]);
  });

  it('finds the whole disk, partitioned or not', async () => {
    await using disk = await openRaw(await guestImage());
    const guest = await openGuest(disk);
    expect(findVolume(guest, '/dev/sda')).toMatchObject({ name: '/dev/sda', placement: { offset: 0n }, device: disk });
    await using bare = await openRaw(await blank(mebibyte));
    const other = await openGuest(bare);
    expect(findVolume(other, 'vda')).toBe(other.volumes[0]);
  });

  it('says what there is when a name fits nothing', async () => {
    await using disk = await openRaw(await guestImage());
    const guest = await openGuest(disk);
    for (const name of ['/dev/sda9', '/dev/sdb1', 'LABEL=Root', 'LABEL=', 'UUID=', 'PARTUUID=1']) {
      const found = () => findVolume(guest, name);
      expect(found, name).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
      expect(found, name).toThrow(/\/dev\/sda1 \(LABEL=root UUID=11111111/);
    }
  });

  it('lists the candidates when a label fits more than one', async () => {
    const path = await guestImage();
    await run('mke2fs', ['-Fqt', 'ext4', '-L', 'root', '-E', `offset=${44 * mebibyte}`, path, '4M']);
    await using disk = await openRaw(path);
    const guest = await openGuest(disk);
    const found = () => findVolume(guest, 'LABEL=root');
    expect(found).toThrow(expect.objectContaining({ code: 'USAGE' }));
    expect(found).toThrow(/\/dev\/sda1 .*, \/dev\/sda3 /);
  });

  it('refuses what is no name of a device', async () => {
    await using disk = await openRaw(await guestImage());
    const guest = await openGuest(disk);
    for (const name of ['', 'sda0', '/dev/mapper/x', 'label=root']) {
      expect(() => findVolume(guest, name), name).toThrow(expect.objectContaining({ code: 'USAGE' }));
    }
  });
});
