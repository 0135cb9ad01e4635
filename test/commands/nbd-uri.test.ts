import { spawn } from 'node:child_process';
import { copyFile, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished } from 'vitest';
import { NbdDevice } from '../../src/nbd/index.js';
import { allocatedSize, filesOf, guestDiskPrograms, makeGuestDisk } from '../support/guest-disk.js';
import { until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { disktool, disktoolHere, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

/** A guest disk behind a server of somebody else's. */
async function served() {
  const folder = await temporaryFolder();
  const disk = await makeGuestDisk({ in: folder });
  return { folder, disk, ...(await serve(folder, disk.image)) };
}

async function serve(folder: string, image: string, ...options: string[]) {
  const socket = join(folder, `s${options.length}`);
  const child = spawn('nbdkit', ['-f', '-U', socket, ...options, 'file', image], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill();
    await ended;
  };
  onTestFinished(stop);
  const uri = `nbd+unix:///?socket=${socket}`;
  await until(async () => {
    const device = await NbdDevice.connect(uri, { access: 'read' }).catch(() => undefined);
    await device?.close();
    return device !== undefined;
  });
  return { uri, stop };
}

describe('an NBD URI stands for an image', () => {
  const it = needs({ programs: ['nbdkit', ...guestDiskPrograms] });

  it('in filesystems and download, with the same outcome', async () => {
    const { folder, disk, uri } = await served();
    const listed = await disktool(['filesystems', '--json', uri]);
    const ofFile = await disktoolHere(['filesystems', '--json', '--force-share', disk.image]);
    expect(JSON.parse(listed.stdout).entries ?? listed.stdout).toEqual(
      JSON.parse(ofFile.stdout).entries ?? ofFile.stdout,
    );
    const out = join(folder, 'out.img');
    expect((await disktoolHere(['download', uri, '/dev/sda1', out])).status).toBe(0);
    await run('cmp', ['-n', String(disk.rootSize), '-i', `0:${disk.rootOffset}`, out, disk.image]);
  });

  it('in copy, and in copy without the free space', async () => {
    const { folder, disk, uri } = await served();
    const [whole, small] = [join(folder, 'whole.img'), join(folder, 'small.img')];
    expect((await disktoolHere(['copy', uri, whole])).status).toBe(0);
    await run('cmp', [disk.image, whole]);
    expect((await disktoolHere(['copy', '--sparsify', uri, small])).status).toBe(0);
    expect(await allocatedSize(small)).toBeLessThan((await allocatedSize(whole)) * 0.6);
    const root = (image: string) => ({ root: `${image}?offset=${disk.rootOffset}` });
    expect(await filesOf(root(small), await temporaryFolder())).toEqual(await filesOf(disk, await temporaryFolder()));
  });

  it('in sparsify, which gives room back over the wire and keeps every file', async () => {
    const { folder, disk, uri, stop } = await served();
    const before = join(folder, 'before.img');
    await copyFile(disk.image, before);
    const room = await allocatedSize(disk.image);
    expect((await disktoolHere(['sparsify', '--dry-run', uri])).status).toBe(0);
    await run('cmp', [disk.image, before]);
    const { status, stderr } = await disktoolHere(['sparsify', '--quiet', uri]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    await stop();
    expect(await allocatedSize(disk.image)).toBeLessThan(room * 0.6);
    const root = { root: `${before}?offset=${disk.rootOffset}` };
    expect(await filesOf(disk, await temporaryFolder())).toEqual(await filesOf(root, await temporaryFolder()));
    await run('e2fsck', ['-fn', disk.root]);
  });

  it('in zerofill, which overwrites what is free over the wire and keeps every file', async () => {
    const { folder, disk, uri, stop } = await served();
    const before = join(folder, 'before.img');
    await copyFile(disk.image, before);
    expect((await disktoolHere(['zerofill', uri])).status).toBe(0);
    await stop();
    const root = { root: `${before}?offset=${disk.rootOffset}` };
    expect(await filesOf(disk, await temporaryFolder())).toEqual(await filesOf(root, await temporaryFolder()));
    await run('e2fsck', ['-fn', disk.root]);
    const small = join(folder, 'small.img');
    await run('cp', ['--sparse=always', disk.image, small]);
    expect(await allocatedSize(small)).toBeLessThan((await allocatedSize(before)) * 0.6);
  });

  it('in serve, which hands it on', async () => {
    const { uri } = await served();
    const { status, stdout } = await disktool(['serve', uri, '--read-only', '--run', 'nbdinfo --size "$uri"']);
    expect({ status, stdout }).toEqual({ status: 0, stdout: String(96 << 20) });
  });
});

describe('an NBD URI stands for an output', () => {
  const it = needs({ programs: ['nbdkit', ...guestDiskPrograms] });
  /** A guest disk, and an export as long as it that is full of something else. */
  const withTarget = async (length?: number, ...options: string[]) => {
    const folder = await temporaryFolder();
    const disk = await makeGuestDisk({ in: folder });
    const target = join(folder, 'target');
    await writeFile(target, Buffer.alloc(length ?? (await stat(disk.image)).size, 0xff));
    return { folder, disk, target, ...(await serve(folder, target, ...options)) };
  };

  it('of copy: all of it is written, zeros too', async () => {
    const { disk, target, uri, stop } = await withTarget();
    expect((await disktoolHere(['copy', disk.image, uri])).status).toBe(0);
    await stop();
    await run('cmp', [disk.image, target]);
  });

  it('of copy without the free space: every file is there', async () => {
    const { disk, target, uri, stop } = await withTarget();
    expect((await disktoolHere(['copy', '--sparsify', disk.image, uri])).status).toBe(0);
    await stop();
    const root = { root: `${target}?offset=${disk.rootOffset}` };
    expect(await filesOf(root, await temporaryFolder())).toEqual(await filesOf(disk, await temporaryFolder()));
  });

  it('of download; what lies behind stays, and is told', async () => {
    const { disk, target, uri, stop } = await withTarget();
    const { status, stderr } = await disktoolHere(['download', disk.image, '/dev/sda1', uri]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining('what lies behind it stays') });
    await stop();
    await run('cmp', ['-n', String(disk.rootSize), '-i', `0:${disk.rootOffset}`, target, disk.image]);
    expect((await readFile(target)).subarray(disk.rootSize).every((byte) => byte === 0xff)).toBe(true);
  });

  it('is refused in words when it is too small, read-only, or the source itself, and nothing is written', async () => {
    const { disk, target, uri, stop } = await withTarget(1 << 20);
    const { uri: readOnly } = await serve(dirname(target), target, '-r');
    for (const [args, words] of [
      [[disk.image, uri], 'has 1048576 bytes, and the copy needs'],
      [[disk.image, readOnly], 'the server serves it read-only'],
      [[uri, uri], 'is the source itself'],
      [[disk.image, 'http://localhost/disk'], 'http URIs are not supported'],
    ] as const) {
      const { status, stderr } = await disktoolHere(['copy', ...args]);
      expect({ args, status, stderr }).toEqual({
        args,
        status: expect.any(Number),
        stderr: expect.stringContaining(words),
      });
      expect(status).not.toBe(0);
    }
    await stop();
    expect((await readFile(target)).every((byte) => byte === 0xff)).toBe(true);
  });
});
