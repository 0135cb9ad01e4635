import { describe, expect } from 'vitest';
import { guestImage, guestUuids } from '../support/guest-image.js';
import { needs } from '../support/needs.js';
import { disktool, disktoolHere } from '../support/run.js';

const it = needs({ programs: ['sfdisk', 'mke2fs', 'mkswap'] });

describe('disktool filesystems', () => {
  it('prints names alone, as virt-filesystems does', async () => {
    const image = await guestImage();
    expect(await disktool(['filesystems', image])).toMatchObject({ status: 0, stdout: '/dev/sda1', stderr: '' });
    const { stdout } = await disktoolHere(['filesystems', '--all', image]);
    expect(stdout.split('\n')).toEqual(['/dev/sda1', '/dev/sda2', '/dev/sda3', '/dev/sda']);
  });

  it('prints a table with --long', async () => {
    const { stdout } = await disktoolHere(['filesystems', '--all', '-l', await guestImage('dos')]);
    const [heading, root, swap] = stdout.split('\n');
    expect(heading?.split(/\s{2,}/)).toEqual([
      ...['Name', 'Type', 'VFS', 'Label', 'MBR', 'Size', 'FS size', 'Used', 'Free', 'State', 'Parent', 'UUID'],
    ]);
    expect(root).toMatch(
      new RegExp(`^/dev/sda1 +filesystem +ext4 +root +83 +32M +32M +\\S+ +\\S+ +clean +/dev/sda +${guestUuids.root}$`),
    );
    expect(swap).toMatch(/^\/dev\/sda2 +swap +swap +swp +82 /);
  });

  it('prints exact bytes with --json', async () => {
    const { status, stdout } = await disktoolHere(['filesystems', '--json', await guestImage()]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      size: 67108864,
      table: { kind: 'gpt' },
      entries: [{ name: '/dev/sda1', vfs: 'ext4', size: 33554432, filesystemSize: 33554432, state: 'clean' }],
    });
  });

  it('says so when there is no such image', async () => {
    const { status, stderr } = await disktoolHere(['filesystems', '/nowhere.img']);
    expect(status).toBe(1);
    expect(stderr).toContain('/nowhere.img');
  });
});
