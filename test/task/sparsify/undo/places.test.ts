import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { RangeSet } from '../../../../src/binary/range-set.js';
import { sparsify } from '../../../../src/task/sparsify/sparsify.js';
import { restore } from '../../../../src/task/sparsify/undo/restore.js';
import { digestOutside, guestDiskPrograms, makeGuestDisk } from '../../../support/guest-disk.js';
import { loopDevice } from '../../../support/loop-device.js';
import { needs } from '../../../support/needs.js';
import { attempt, run } from '../../../support/run.js';
import { served } from '../../../support/served.js';

/** Where the image lies, and where the undo file. */

const MiB = 1 << 20;
const programs = guestDiskPrograms;

async function guest() {
  const disk = await makeGuestDisk();
  const folder = dirname(disk.image);
  const original = join(folder, 'original.img');
  await run('cp', ['--sparse=never', disk.image, original]);
  return { ...disk, folder, original, undo: join(folder, 'guest.undo') };
}

async function smallFolder(folder: string, size: number): Promise<string> {
  const mountPoint = join(folder, 'small');
  await mkdir(mountPoint);
  await run('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', mountPoint]);
  onTestFinished(async () => {
    await attempt('umount', [mountPoint]);
  });
  return mountPoint;
}

needs({ programs: [...programs, 'mount'], root: true })(
  'without room for the first part nothing is given back, and no undo file is left',
  async () => {
    const { image, original, folder } = await guest();
    const undo = join(await smallFolder(folder, 8 * MiB), 'guest.undo');
    await expect(sparsify(image, { undo }, {})).rejects.toMatchObject({
      code: 'IO',
      facts: { errno: 'ENOSPC' },
      message: expect.stringContaining('was not given back'),
    });
    await run('cmp', [image, original]);
    await expect(stat(undo)).rejects.toMatchObject({ code: 'ENOENT' });
  },
);

needs({ programs: [...programs, 'mount'], root: true })(
  'when room for a later part is lacking, what was given back before comes back',
  async () => {
    const { image, original, folder } = await guest();
    const undo = join(await smallFolder(folder, 48 * MiB), 'guest.undo');
    await expect(sparsify(image, { undo }, {})).rejects.toMatchObject({ facts: { errno: 'ENOSPC' } });
    const given = await attempt('cmp', [image, original]);
    expect(given.status).toBe(1);
    const report = await restore(undo, image, {}, {});
    expect(report).toMatchObject({ complete: false });
    expect(report.restored).toBeGreaterThan(BigInt(20 * MiB));
    await run('cmp', [image, original]);
  },
);

needs({ programs: [...programs, 'qemu-img', 'qemu-nbd'] })('a qcow2 image is put back by QEMU', async () => {
  const { image, original, folder, undo } = await guest();
  const qcow2 = join(folder, 'guest.qcow2');
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-S', '0', image, qcow2]);
  const full = (await stat(qcow2)).blocks * 512;
  const { digest } = await sparsify(qcow2, { undo, verify: true }, {});
  expect(digest).toMatch(/^[0-9a-f]{64}$/);
  expect((await stat(qcow2)).blocks * 512).toBeLessThan(full - 50 * MiB);
  const other = await attempt('qemu-img', ['compare', '-F', 'raw', qcow2, original]);
  expect(other.status).toBe(1);
  expect(await restore(undo, qcow2, { dryRun: true }, {})).toMatchObject({ present: 0n });
  await restore(undo, qcow2, {}, {});
  await run('qemu-img', ['compare', '-F', 'raw', qcow2, original]);
  await run('qemu-img', ['check', qcow2]);
});

needs({ programs: [...programs, 'losetup'], root: true })('a block device is put back', async () => {
  const { image, original, undo } = await guest();
  const { path: loop } = await loopDevice(image);
  await sparsify(loop, { undo, discard: true, verify: true }, {});
  expect((await stat(image)).blocks * 512).toBeLessThan(40 * MiB);
  await restore(undo, loop, {}, {});
  await run('cmp', [loop, original]);
});

needs({ programs })('an NBD export is put back', async () => {
  const { image, original, undo } = await guest();
  const { uri, stop } = await served(['--file', image]);
  await sparsify(uri, { undo, verify: true }, {});
  const given = await digestOutside(image, RangeSet.empty);
  await restore(undo, uri, {}, {});
  await stop();
  expect(await digestOutside(image, RangeSet.empty)).not.toBe(given);
  await run('cmp', [image, original]);
});
