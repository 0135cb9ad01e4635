import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, onTestFinished, vi } from 'vitest';
import { identify } from '../../../src/host/file-identity.js';
import { findHolders } from '../../../src/host/holders.js';
import { fileNode } from '../../../src/image/qemu/block-node.js';
import { openByQemu } from '../../../src/image/qemu/qemu-nbd.js';
import { needs } from '../../support/needs.js';
import { disktoolPath, run } from '../../support/run.js';
import { sourceDevice } from '../../support/source-device.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io', 'qemu-nbd'] });
const size = 8 << 20;

afterEach(() => {
  vi.unstubAllEnvs();
});

async function image(format: string): Promise<string> {
  const path = join(await temporaryFolder(), `a.${format}`);
  await run('qemu-img', ['create', '-q', '-f', format, path, String(size)]);
  return path;
}

function open(path: string, driver: string, { signal }: { signal?: AbortSignal } = {}) {
  const file = sourceDevice(path);
  onTestFinished(() => file.close());
  const node = { driver, file: fileNode(path, file) };
  return openByQemu({ path, node, access: 'read', owned: [file], signal });
}

async function holdersOf(path: string) {
  return await findHolders(identify(await stat(path, { bigint: true })), []);
}

it('reads by a qemu-nbd that has ended, and left nothing behind, when the device is closed', async () => {
  const path = await image('vdi');
  await run('qemu-io', ['-f', 'vdi', '-c', 'write -q -P 7 1M 1M', path]);
  const folder = await temporaryFolder();
  vi.stubEnv('TMPDIR', folder);
  const descriptors = (await readdir('/proc/self/fd')).length;
  const disk = await open(path, 'vdi');
  expect(await readdir(folder)).toEqual([]);
  expect(disk.facts).toMatchObject({ size: BigInt(size), writable: false, trim: false, extents: true });
  const into = new Uint8Array(4096);
  await disk.read(into, 1n << 20n);
  expect(into).toEqual(new Uint8Array(4096).fill(7));
  expect((await holdersOf(path)).map(({ command }) => command)).toContain('qemu-nbd');
  await disk.close();
  expect(await holdersOf(path)).toEqual([]);
  expect((await readdir('/proc/self/fd')).length).toBe(descriptors);
});

it('opens the very file that was looked at, whatever its path leads to by then', async () => {
  const [path, other] = [await image('vdi'), await image('vdi')];
  await run('qemu-io', ['-f', 'vdi', '-c', 'write -q -P 7 0 4k', path]);
  const file = sourceDevice(path);
  await rename(other, path);
  const disk = await openByQemu({
    path,
    node: { driver: 'vdi', file: fileNode(path, file) },
    access: 'read',
    owned: [file],
  });
  const into = new Uint8Array(4096);
  await disk.read(into, 0n);
  await disk.close();
  expect(into).toEqual(new Uint8Array(4096).fill(7));
});

it('takes a file name with commas, quotes and spaces', async () => {
  const path = join(await temporaryFolder(), `a, "b"=',file.filename=c.vdi`);
  await run('qemu-img', ['create', '-q', '-f', 'vdi', 'plain', '1M'], { cwd: join(path, '..') });
  await rename(join(path, '../plain'), path);
  const disk = await open(path, 'vdi');
  expect(disk.facts.size).toBe(1n << 20n);
  await disk.close();
});

it('says in words why QEMU does not open an image', async () => {
  const path = await image('vdi');
  await expect(open(path, 'vhdx')).rejects.toMatchObject({ code: 'CORRUPT', facts: { reason: 'qemu' } });
  await expect(open(path, 'nonsense')).rejects.toMatchObject({ code: 'UNSUPPORTED', facts: { reason: 'driver' } });
  await writeFile(path, 'short');
  await expect(open(path, 'vdi')).rejects.toMatchObject({ message: expect.stringMatching(`^${path}: [^/]*$`) });
  expect((await holdersOf(path)).map(({ pid }) => pid)).toEqual([process.pid]);
});

it('fails in words, and still closes, when QEMU is killed under it', async () => {
  const path = await image('vdi');
  const disk = await open(path, 'vdi');
  const pid = (await holdersOf(path)).find(({ command }) => command === 'qemu-nbd')?.pid;
  process.kill(pid ?? -1, 'SIGKILL');
  await expect(disk.read(new Uint8Array(512), 0n)).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining(`vdi of ${path}`),
  });
  await disk.close();
  expect(await holdersOf(path)).toEqual([]);
});

it('names the package when there is no qemu-nbd', async () => {
  const path = await image('vdi');
  const folder = await temporaryFolder();
  vi.stubEnv('PATH', folder);
  await expect(open(path, 'vdi')).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining('install qemu-utils'),
  });
});

it('ends QEMU when it is cancelled meanwhile', async () => {
  const path = await image('vdi');
  for (const delay of [0, 5, 20]) {
    const signal = AbortSignal.timeout(delay);
    const outcome = await open(path, 'vdi', { signal }).then(
      (disk) => disk.close(),
      (error: unknown) => error,
    );
    if (outcome !== undefined) expect(outcome).toMatchObject({ code: 'CANCELLED' });
  }
  const others = (await holdersOf(path)).filter(({ pid }) => pid !== process.pid);
  expect(others).toEqual([]);
});

it('ends with us, also when we are killed at any moment', async () => {
  const path = await image('qcow2');
  const folder = await temporaryFolder();
  for (let delay = 0; delay < 600; delay += 50) {
    const child = spawn(process.execPath, [disktoolPath, 'serve', path, '--socket', join(folder, 'socket')], {
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: folder },
    });
    const ended = once(child, 'close');
    await new Promise((resolve) => setTimeout(resolve, delay));
    child.kill('SIGKILL');
    await ended;
    await vi.waitFor(async () => expect(await holdersOf(path)).toEqual([]), { timeout: 10_000 });
    // Nor one that has not got as far as the image.
    for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
      if (environment.includes(`TMPDIR=${folder}\0`)) {
        await vi.waitFor(() => expect(readFile(`/proc/${pid}/cmdline`)).rejects.toThrow(), { timeout: 10_000 });
      }
    }
  }
  await run('qemu-img', ['check', '-q', path]);
}, 60_000);
