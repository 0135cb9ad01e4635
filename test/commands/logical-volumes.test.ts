import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { contentsOf } from '../support/ext-image.js';
import { fillLogical, type LvmDisk, lvmDisk, lvmNeeds, readLogical, report } from '../support/lvm-image.js';
import { leftAloneVolumes } from '../support/lvm-variants.js';
import { needs } from '../support/needs.js';
import { disktoolHere } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ ...lvmNeeds, programs: [...lvmNeeds.programs, 'nbdcopy'], slow: true });

/** `root` is striped over two partitions, `home` is linear. */
async function guest(): Promise<LvmDisk> {
  const disk = await lvmDisk({
    partitions: [
      [1, 30],
      [32, 30],
    ],
    commands: [
      'pvcreate -y $1 $2',
      'vgcreate -y vg-0 $1 $2',
      'lvcreate -n root -i2 -L 16M vg-0',
      'lvcreate -n home -L 8M vg-0',
    ],
    group: 'vg-0',
  });
  await fillLogical(disk, 'root', 'the-root');
  await fillLogical(disk, 'home', 'the-home');
  return disk;
}

async function answer(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await disktoolHere(args);
  expect(status, stderr).toBe(0);
  return stdout;
}

describe('a logical volume stands wherever a partition does', () => {
  it('in filesystems, download, sparsify, copy and serve', async () => {
    const disk = await guest();
    const root = await readLogical(disk, 'root');
    const out = join(await temporaryFolder(), 'out');

    expect(await answer('filesystems', disk.image)).toBe('/dev/vg-0/root\n/dev/vg-0/home');
    const all = JSON.parse(await answer('filesystems', '--all', '--json', disk.image));
    expect(all.entries.map(({ name, type, vfs, parent }: Record<string, string>) => [name, type, vfs, parent])).toEqual(
      [
        ['/dev/sda1', 'other', 'LVM2_member', '/dev/sda'],
        ['/dev/sda2', 'other', 'LVM2_member', '/dev/sda'],
        ['/dev/vg-0/root', 'filesystem', 'ext4', 'vg-0'],
        ['/dev/vg-0/home', 'filesystem', 'ext4', 'vg-0'],
        ['/dev/sda1', 'partition', '', '/dev/sda'],
        ['/dev/sda2', 'partition', '', '/dev/sda'],
        ['/dev/vg-0/root', 'lv', '', 'vg-0'],
        ['/dev/vg-0/home', 'lv', '', 'vg-0'],
        ['vg-0', 'vg', '', '/dev/sda1,/dev/sda2'],
        ['/dev/sda', 'device', '', ''],
      ],
    );

    const info = JSON.parse(await answer('info', '--json', disk.image));
    const theirs = await report(disk, 'lvs', 'lv_name,lv_size,lv_uuid');
    const ours = info.logicalVolumes.map(({ name, size, uuid }: Record<string, unknown>) => [name, `${size}`, uuid]);
    expect(ours.sort()).toEqual(theirs.map((lv) => [lv.lv_name, lv.lv_size, lv.lv_uuid]).sort());
    expect(await answer('info', disk.image)).toMatch(/^\/dev\/vg-0\/root +16777216 +16M +striped +-$/m);

    for (const name of ['/dev/vg-0/root', '/dev/mapper/vg--0-root', 'LABEL=the-root']) {
      const { device, offset } = JSON.parse(await answer('download', '--force', '--json', disk.image, name, out));
      expect([device, offset]).toEqual(['/dev/vg-0/root', undefined]);
      expect(root.equals(await readFile(out))).toBe(true);
    }
    const home = JSON.parse(await answer('download', '--force', '--json', disk.image, 'vg-0/home', out));
    expect(home.offset).toBeGreaterThan(1 << 20);
    expect((await readLogical(disk, 'home')).equals(await readFile(out))).toBe(true);

    const served = `${out}.served`;
    const run = `nbdcopy "$uri" ${served}`;
    await answer('serve', disk.image, '--partition', '/dev/vg-0/root', '--read-only', '--run', run);
    expect(root.equals(await readFile(served))).toBe(true);

    const ignored = JSON.parse(await answer('sparsify', '-n', '--json', '--ignore', 'vg-0/root', disk.image));
    expect(
      ignored.images[0].volumes.map(({ device, leftAlone }: Record<string, unknown>) => [device, leftAlone]),
    ).toEqual([
      ['/dev/sda1', undefined],
      ['/dev/sda2', undefined],
      ['/dev/vg-0/root', { kind: 'ignored', reason: 'ignored, as asked' }],
      ['/dev/vg-0/home', undefined],
    ]);
    for (const name of ['vg-0', '/dev/vg-0']) {
      const group = JSON.parse(await answer('sparsify', '-n', '--json', '--ignore', name, disk.image));
      expect(group.images[0].volumes.map(({ leftAlone }: Record<string, unknown>) => leftAlone)).toEqual(
        Array.from({ length: 4 }, () => ({ kind: 'ignored', reason: 'ignored, as asked' })),
      );
      expect(group.images[0].volumes.map(({ free }: Record<string, unknown>) => free)).toEqual([0, 0, 0, 0]);
    }
    const unknown = await disktoolHere(['sparsify', '-n', '--ignore', 'vg-1', disk.image]);
    expect([unknown.status, unknown.stderr]).toEqual([2, expect.stringContaining('"vg-1" names no device')]);
    await answer('copy', '--sparsify', disk.image, `${out}.copy`);
    await answer('download', '--force', `${out}.copy`, '/dev/vg-0/root', out);
    const before = await contentsOf(served);
    expect(await contentsOf(out)).toEqual(before);
    expect(root.equals(await readFile(out))).toBe(false);
  }, 120_000);

  it('for --zero, which wipes it alone, and for what is written through serve', async () => {
    const disk = await guest();
    const root = await readLogical(disk, 'root');
    expect((await disktoolHere(['sparsify', '--zero', '/dev/vg-0/root', disk.image])).status).toBe(1);
    await answer('sparsify', '--force', '--zero', '/dev/vg-0/root', '--ignore', '/dev/vg-0/home', disk.image);
    expect((await readLogical(disk, 'root')).every((byte) => byte === 0)).toBe(true);
    const home = await readLogical(disk, 'home');
    const file = join(await temporaryFolder(), 'root.img');
    await writeFile(file, root);
    await answer('serve', disk.image, '--partition', 'vg-0/root', '--run', `nbdcopy ${file} "$uri"`);
    expect(root.equals(await readLogical(disk, 'root'))).toBe(true);
    expect(home.equals(await readLogical(disk, 'home'))).toBe(true);
  }, 120_000);

  it('and all that is in a partition that is ignored, or to be wiped, shares its fate', async () => {
    const disk = await guest();
    const both = await disktoolHere(['sparsify', '-n', '--zero', '/dev/sda1', '--ignore', 'vg-0/root', disk.image]);
    expect([both.status, both.stderr]).toEqual([2, expect.stringContaining('choose one')]);
    const one = JSON.parse(await answer('sparsify', '-n', '--json', '--ignore', '/dev/sda1', disk.image));
    const left = one.images[0].volumes.map(({ leftAlone }: Record<string, unknown>) => leftAlone !== undefined);
    // The striped volume lies on both; the linear one where there was room.
    expect(left).toEqual([true, false, true, expect.any(Boolean)]);
    const forced = await disktoolHere(['sparsify', '--zero', '/dev/sda1', disk.image]);
    expect(forced.stderr).toContain('--force');
  }, 60_000);
});

needs(lvmNeeds)(
  'what is left alone is named with its reason, and cannot be downloaded',
  async () => {
    const disk = await lvmDisk({
      partitions: [[1, 60]],
      commands: ['pvcreate -y $1', 'vgcreate -y vg $1', 'lvcreate -n fs -L 8M vg'],
      volumes: leftAloneVolumes['a thin pool and its volumes']?.volumes,
    });
    const text = await answer('sparsify', '-n', disk.image);
    expect(text).toMatch(/\/dev\/vg\/thin +thin +.*left alone: a thin volume: its pool maps it/);
    const strict = await disktoolHere(['sparsify', '-n', '--strict', disk.image]);
    expect(strict.status).toBe(3);
    const out = join(await temporaryFolder(), 'out');
    const { status, stderr } = await disktoolHere(['download', disk.image, '/dev/vg/thin', out]);
    expect([status, stderr]).toEqual([1, expect.stringContaining('cannot be read: a thin volume')]);
    expect(await answer('filesystems', '--all', disk.image)).toContain('/dev/vg/pool');
  },
  60_000,
);
