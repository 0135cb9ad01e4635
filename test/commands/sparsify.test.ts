import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, open, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { RangeSet } from '../../src/binary/range-set.js';
import { openImage } from '../../src/image/open-image.js';
import { planSparsify } from '../../src/task/sparsify/plan.js';
import { writeJournal } from '../support/ext-journal.js';
import { allocatedSize, digestOutside, filesOf, guestDiskPrograms, makeGuestDisk } from '../support/guest-disk.js';
import { loopDevice } from '../support/loop-device.js';
import { needs } from '../support/needs.js';
import { attempt, disktool, disktoolHere, disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: guestDiskPrograms });
const MiB = 1 << 20;

it('prints a table, what was given back, and nothing on standard error but progress', async () => {
  const { image } = await makeGuestDisk();
  const { status, stdout, stderr } = await disktool(['sparsify', '--quiet', image]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/^device\s+type\s+size\s+used\s+free\s+freed/);
  expect(stdout).toMatch(/\/dev\/sda1\s+ext4/);
  expect(stdout).toMatch(/\/dev\/sda2\s+swap/);
  expect(stdout).toMatch(/guest\.img: \S+ before, \S+ after, \S+ given back$/);
});

it('writes one JSON document with exact numbers', async () => {
  const { image } = await makeGuestDisk();
  const { status, stdout } = await disktoolHere(['sparsify', '--dry-run', '--json', image]);
  expect(status).toBe(0);
  const { images } = JSON.parse(stdout);
  expect(images).toMatchObject([
    {
      image,
      dryRun: true,
      size: 96 * MiB,
      zeros: 0,
      allocatedBefore: await allocatedSize(image),
      volumes: [
        { device: '/dev/sda1', type: 'ext4', wiped: false },
        {
          device: '/dev/sda2',
          type: 'swap',
          size: 8 * MiB,
          free: 8 * MiB - 4096,
          reclaimable: 8 * MiB - 4096,
          wiped: false,
        },
      ],
    },
  ]);
});

it('writes progress as JSON lines when asked', async () => {
  const { image } = await makeGuestDisk();
  const { stderr } = await disktoolHere(['sparsify', '--progress', 'json', image]);
  const lines = stderr.split('\n').map((line) => JSON.parse(line));
  expect(lines.length).toBeGreaterThan(0);
  for (const line of lines) expect(line).toMatchObject({ phase: expect.any(String), done: expect.any(Number) });
});

it('exits with 3 and the reason when a filesystem is left alone for its state, and frees the rest', async () => {
  const { image, root } = await makeGuestDisk();
  await run('debugfs', ['-w', '-R', 'set_super_value state 2', root]);
  const { status, stdout } = await disktoolHere(['sparsify', '--quiet', image]);
  expect(status).toBe(3);
  expect(stdout).toMatch(/\/dev\/sda1.*left alone: /);
  expect(stdout).toMatch(/\/dev\/sda2\s+swap\s+8\.0M\s+-\s+8\.0M/);
});

it('exits with 0 when what it leaves alone is not supported, and with 3 when strict', async () => {
  const folder = await temporaryFolder();
  const image = join(folder, 'a.img');
  await writeFile(image, Buffer.alloc(MiB, 'no filesystem'));
  expect(await disktoolHere(['sparsify', '--quiet', image])).toMatchObject({ status: 0 });
  expect(await disktoolHere(['sparsify', '--quiet', '--strict', image])).toMatchObject({ status: 3 });
});

it('exits with 1 and names the file when it is not there, and goes on to the next image', async () => {
  const { image } = await makeGuestDisk();
  const missing = join(dirname(image), 'missing.img');
  const { status, stdout, stderr } = await disktoolHere(['sparsify', '--quiet', missing, image]);
  expect(status).toBe(1);
  expect(stderr).toMatch(/^disktool: .*missing\.img/);
  expect(stderr.split('\n')).toHaveLength(1);
  expect(stdout).toContain('given back');
  const told = await disktoolHere(['sparsify', '--quiet', '--json', missing, image]);
  expect(JSON.parse(told.stdout).images).toMatchObject([
    { image: missing, code: 'NOT_FOUND' },
    { image, dryRun: false },
  ]);
});

it('exits with 1 when both copies of the partition table are damaged', async () => {
  const { image } = await makeGuestDisk();
  const file = await open(image, 'r+');
  const { size } = await file.stat();
  await file.write(Buffer.alloc(8, 1), 0, 8, 512);
  await file.write(Buffer.alloc(8, 1), 0, 8, size - 512);
  await file.close();
  const { status, stderr } = await disktoolHere(['sparsify', '--quiet', image]);
  expect(status).toBe(1);
  expect(stderr).toMatch(/GPT/);
});

it('exits with 2 for wrong usage, in one document under --json', async () => {
  expect(await disktoolHere(['sparsify'])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('IMAGE missing'),
  });
  const { status, stdout } = await disktoolHere(['sparsify', '--json', '--minimum', 'x', 'a.img']);
  expect(status).toBe(2);
  expect(JSON.parse(stdout)).toEqual({
    code: 'USAGE',
    message: expect.stringMatching(/^--minimum: "x" is no size: [^\n]*[^\n.]$/),
  });
  expect(JSON.parse((await disktoolHere(['--json', 'sparsify'])).stdout)).toMatchObject({ code: 'USAGE' });
  expect(await disktoolHere(['sparsify', '-U', 'a.img'])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('--dry-run'),
  });
  const unknown = await disktoolHere(['sparsify', '--json', '--nonsense', 'a.img']);
  expect(JSON.parse(unknown.stdout)).toEqual({ code: 'USAGE', message: expect.stringContaining('--nonsense') });
});

it('takes no image name from standard input', async () => {
  const { status, stderr } = await attempt(process.execPath, [disktoolPath, 'sparsify'], {
    stdin: 'pipe',
    input: 'y\n',
  });
  expect(status).toBe(2);
  expect(stderr).not.toContain('y:');
});

needs({ programs: guestDiskPrograms, slow: true })('leaves a whole image when it is killed at any moment', async () => {
  const disk = await makeGuestDisk();
  const folder = dirname(disk.image);
  const pristine = join(folder, 'pristine.img');
  await run('cp', ['--sparse=never', disk.image, pristine]);
  const files = await filesOf(disk, join(folder, 'files'));
  const free = await freeRanges(disk.image);
  const outside = await digestOutside(disk.image, free);
  const start = performance.now();
  await run(process.execPath, [disktoolPath, 'sparsify', '--quiet', disk.image]);
  const whole = performance.now() - start;

  let cutShort = 0;
  for (let i = 0; i < 8; i++) {
    await run('cp', ['--sparse=never', pristine, disk.image]);
    const child = spawn(process.execPath, [disktoolPath, 'sparsify', '--quiet', disk.image], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    // The work itself is the second half; the start of Node is the first.
    await sleep(whole * (0.3 + Math.random() * 0.7));
    child.kill('SIGKILL');
    const [, signal] = await ended;
    if (signal === 'SIGKILL') cutShort++;
    expect(await digestOutside(disk.image, free)).toBe(outside);
    await run('e2fsck', ['-fn', disk.root]);
  }
  expect(await filesOf(disk, join(folder, 'files'))).toEqual(files);
  expect(cutShort).toBeGreaterThan(0);
});

async function freeRanges(image: string): Promise<RangeSet> {
  await using disk = await openImage(image, { access: 'read' });
  return (await planSparsify(disk, {}, {})).trim;
}

it('ends by SIGINT with status 130 and leaves a whole image', async () => {
  const disk = await makeGuestDisk();
  const child = spawn(process.execPath, [disktoolPath, 'sparsify', '--progress', 'json', disk.image], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit');
  await once(child.stderr, 'data');
  child.kill('SIGINT');
  const [status] = await ended;
  // It may have been done already.
  expect([0, 130]).toContain(status);
  await run('e2fsck', ['-fn', disk.root]);
});

needs({
  programs: ['losetup', 'mkfs.exfat', 'mount.exfat-fuse', ...guestDiskPrograms],
  root: true,
  devices: ['/dev/fuse'],
})('on a host that cannot punch holes changes nothing, exits with 1 and advises --output', async () => {
  const disk = await makeGuestDisk({ size: 48 * MiB });
  const folder = dirname(disk.image);
  const host = join(folder, 'host.img');
  const mountPoint = join(folder, 'mnt');
  await writeFile(host, '');
  await truncate(host, 96 * MiB);
  await run('mkfs.exfat', [host]);
  await mkdir(mountPoint);
  const loop = await loopDevice(host);
  onTestFinished(async () => {
    await attempt('umount', [mountPoint]);
  });
  await run('mount.exfat-fuse', [loop.path, mountPoint]);
  const inside = join(mountPoint, 'guest.img');
  await copyFile(disk.image, inside);
  const before = await digestOutside(inside, RangeSet.empty);
  const { status, stderr } = await disktoolHere(['sparsify', '--quiet', inside]);
  expect(status).toBe(1);
  expect(stderr).toMatch(/cannot punch holes, nothing was changed: make a small copy with --output/);
  expect(await digestOutside(inside, RangeSet.empty)).toBe(before);
  const out = join(folder, 'out.img');
  expect(await disktoolHere(['sparsify', '--quiet', inside, '--output', out])).toMatchObject({ status: 0 });
  await run('e2fsck', ['-fn', out.concat('?offset=', String(disk.rootOffset))]);
  expect(await allocatedSize(out)).toBeLessThan(30 * MiB);
  await run('umount', [mountPoint]);
  await rm(mountPoint, { recursive: true });
});

needs({ programs: ['losetup', ...guestDiskPrograms], root: true })(
  'has a block device discard what is free, when told to, and leaves zeros in use there',
  async () => {
    const disk = await makeGuestDisk();
    const folder = dirname(disk.image);
    const files = await filesOf(disk, join(folder, 'files'));
    const loop = await loopDevice(disk.image);
    expect(await disktoolHere(['sparsify', '--quiet', loop.path])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('--discard'),
    });
    const before = (await stat(disk.image)).blocks;
    expect(await disktoolHere(['sparsify', '--quiet', '--discard', loop.path])).toMatchObject({ status: 0 });
    await loop.detach();
    expect(before - (await stat(disk.image)).blocks).toBeGreaterThan((60 * MiB) / 512);
    expect(await filesOf(disk, join(folder, 'files'))).toEqual(files);
    await run('e2fsck', ['-fn', disk.root]);
  },
);

it('gives back what is free with a journal replayed in memory, says so, and leaves the journal to the guest', async () => {
  const { image, root } = await makeGuestDisk();
  await writeJournal(root, 'v3', 4096, [{ blocks: [[20_000, Buffer.from('something')]] }]);
  const listed = JSON.parse((await disktoolHere(['filesystems', '--json', image])).stdout);
  expect(listed.entries).toMatchObject([{ state: 'needs-recovery', reason: expect.stringContaining('journal') }]);
  const dry = await disktoolHere(['sparsify', '--dry-run', '--json', image]);
  expect(JSON.parse(dry.stdout).images[0].volumes[0]).toMatchObject({ device: '/dev/sda1', replayed: true });
  const { status, stdout } = await disktoolHere(['sparsify', '--quiet', '--strict', image]);
  expect(status).toBe(0);
  expect(stdout).toMatch(/\/dev\/sda1\s+ext4.*its journal was replayed in memory, and nothing of it written/);
  expect((await allocatedSize(image)) / MiB).toBeLessThan(30);
  expect(await run('dumpe2fs', ['-h', root], { env: { LC_ALL: 'C' } })).toMatch(/needs_recovery/);
  await run('debugfs', ['-w', '-R', 'journal_run', root]);
  await run('e2fsck', ['-fn', root]);
});

it('leaves a filesystem alone whose journal needs recovery, and exits with 3, under --no-replay', async () => {
  const { image, root } = await makeGuestDisk();
  await writeJournal(root, 'v3', 4096, [{ blocks: [[20_000, Buffer.from('something')]] }]);
  const { status, stdout } = await disktoolHere(['sparsify', '--quiet', '--no-replay', image]);
  expect(status).toBe(3);
  expect(stdout).toMatch(/\/dev\/sda1.*left alone: its journal needs recovery/);
});

it('leaves a filesystem alone whose journal is irregular, exits with 3 and says why', async () => {
  const { image, root } = await makeGuestDisk();
  await writeJournal(root, 'none', 4096, [{ blocks: [[20_000, Buffer.from('something')]] }]);
  await run('debugfs', ['-w', '-R', 'set_inode_field <8> size 0x100000000', root]);
  const { status, stdout } = await disktoolHere(['sparsify', '--quiet', image]);
  expect(status).toBe(3);
  expect(stdout).toMatch(/\/dev\/sda1.*left alone: its journal is not replayed: .*a hole.*run e2fsck on it/);
});
