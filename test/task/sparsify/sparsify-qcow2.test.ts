import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { identify } from '../../../src/host/file-identity.js';
import { findHolders } from '../../../src/host/holders.js';
import { sparsify } from '../../../src/task/sparsify/sparsify.js';
import { zerofill } from '../../../src/task/zerofill/zerofill.js';
import { dumpe2fs } from '../../support/ext-image.js';
import { allocatedSize, digestOutside } from '../../support/guest-disk.js';
import { needs } from '../../support/needs.js';
import { attempt, disktoolPath, run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io', 'qemu-nbd', 'mke2fs', 'debugfs', 'dumpe2fs'] });
const MiB = 1 << 20;

/** An ext4 of 64 MiB in which a large file was deleted; zeros in use among what it holds. Made once. */
let made: Promise<Buffer> | undefined;
async function guest(folder: string): Promise<string> {
  const path = join(folder, 'guest.img');
  made ??= make(path);
  await writeFile(path, await made);
  return path;
}

async function make(path: string): Promise<Buffer> {
  const root = `${path}.root`;
  await mkdir(root);
  const noise = Buffer.from(Array.from({ length: 24 * MiB }, (_, i) => (i * i + (i >> 7)) & 0xff));
  await writeFile(join(root, 'deleted'), noise);
  await writeFile(join(root, 'kept'), noise.subarray(0, 5 * MiB));
  await writeFile(path, '');
  await truncate(path, 64 * MiB);
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', root, path]);
  await run('debugfs', ['-w', '-R', 'rm /deleted', path]);
  await rm(root, { recursive: true });
  return await readFile(path);
}

/** A qcow2 image of the guest; `options` as qemu-img takes them. */
async function image(options: string, { compressed = false } = {}) {
  const folder = await temporaryFolder();
  const raw = await guest(folder);
  const path = join(folder, 'guest.qcow2');
  const how = [...(options === '' ? [] : ['-o', options]), ...(compressed ? ['-c'] : [])];
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...how, raw, path]);
  return { folder, raw, path };
}

async function asRaw(path: string, folder: string): Promise<string> {
  const copy = join(folder, 'after.img');
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, copy]);
  return copy;
}

/** All bytes but those that dumpe2fs calls free. */
async function expectSameOutside(raw: string, copy: string): Promise<void> {
  const { free } = await dumpe2fs(raw);
  expect(await digestOutside(copy, free)).toBe(await digestOutside(raw, free));
}

const variants: Record<string, { options: string; compressed?: boolean }> = {
  'version 2': { options: 'compat=0.10' },
  'version 3': { options: 'compat=1.1' },
  'clusters of 512 bytes': { options: 'cluster_size=512' },
  'clusters of 4 KiB': { options: 'cluster_size=4k' },
  'clusters of 2 MiB': { options: 'cluster_size=2M' },
  'refcounts of 1 bit': { options: 'refcount_bits=1' },
  'refcounts of 64 bits': { options: 'refcount_bits=64' },
  'zlib clusters': { options: '', compressed: true },
  'zstd clusters': { options: 'compression_type=zstd', compressed: true },
  'extended L2 entries': { options: 'extended_l2=on,cluster_size=128k' },
  'lazy refcounts': { options: 'lazy_refcounts=on' },
  'preallocated metadata': { options: 'preallocation=metadata' },
  'preallocated bytes': { options: 'preallocation=full' },
};

for (const [name, { options, compressed = false }] of Object.entries(variants)) {
  it(`makes a qcow2 image smaller where it lies: ${name}`, async () => {
    const { folder, raw, path } = await image(options, { compressed });
    // The host's filesystem counts a block of its own map once that is written.
    await run('sync', [path]);
    const before = await allocatedSize(path);
    const report = await sparsify(path, {}, {});
    expect(report.allocatedBefore).toBe(BigInt(before));
    expect(report.allocatedAfter).toBe(BigInt(await allocatedSize(path)));
    expect(before - (await allocatedSize(path))).toBeGreaterThan(compressed ? 64 << 10 : 15 * MiB);
    await run('qemu-img', ['check', '-q', '-f', 'qcow2', path]);
    await expectSameOutside(raw, await asRaw(path, folder));
  });
}

it('keeps the features of the image', async () => {
  const { path } = await image('lazy_refcounts=on,cluster_size=128k,extended_l2=on,compression_type=zstd');
  const facts = async () => JSON.parse(await run('qemu-img', ['info', '--output=json', path]))['format-specific'];
  const before = await facts();
  await sparsify(path, {}, {});
  expect(await facts()).toEqual(before);
});

it('zerofill overwrites free space, and the image gets smaller by it', async () => {
  const { folder, raw, path } = await image('');
  const before = await allocatedSize(path);
  await zerofill(path);
  expect(before - (await allocatedSize(path))).toBeGreaterThan(20 * MiB);
  await run('qemu-img', ['check', '-q', path]);
  const copy = await asRaw(path, folder);
  await expectSameOutside(raw, copy);
  const zeros = join(folder, 'zeros.img');
  await copyFile(raw, zeros);
  await zerofill(zeros);
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', zeros, copy]);
});

it('with a backing file, what the image holds itself becomes zeros, when that is forced', async () => {
  const { folder, raw, path: base } = await image('');
  const path = join(await temporaryFolder(), 'top.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', path]);
  const options = { format: 'qcow2', force: true } as const;
  await expect(sparsify(path, { ...options, force: false }, {})).rejects.toMatchObject({
    code: 'UNSAFE',
    facts: { reason: 'backing-file' },
  });
  await expect(sparsify(path, { force: true }, {})).rejects.toMatchObject({ facts: { reason: 'other-file' } });
  const digest = await run('sha256sum', [base]);
  await sparsify(path, options, {});
  await run('qemu-img', ['check', '-q', path]);
  await expectSameOutside(raw, await asRaw(path, folder));
  expect(await run('sha256sum', [base])).toBe(digest);
});

it('stopped at any moment, leaves a clean image that nobody has open', async () => {
  const { folder, raw, path: source } = await image('cluster_size=4k');
  const path = join(folder, 'victim.qcow2');
  for (const delay of [0, 20, 60, 120, 240]) {
    await copyFile(source, path);
    const outcome = await sparsify(path, {}, { signal: AbortSignal.timeout(delay) }).catch((error: unknown) => error);
    if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'CANCELLED' });
    expect(await findHolders(identify(await stat(path, { bigint: true })), [])).toEqual([]);
    await run('qemu-img', ['check', '-q', path]);
    await expectSameOutside(raw, await asRaw(path, folder));
  }
});

it('killed at any moment, leaves an image with nothing worse than leaks, and no qemu-nbd', async () => {
  const { folder, raw, path: source } = await image('cluster_size=4k');
  const path = join(folder, 'victim.qcow2');
  let interrupted = 0;
  for (let delay = 150; delay < 700; delay += 50) {
    await copyFile(source, path);
    const child: ChildProcess = spawn(process.execPath, [disktoolPath, 'sparsify', path], { stdio: 'ignore' });
    const ended = once(child, 'close');
    await new Promise((resolve) => setTimeout(resolve, delay));
    child.kill('SIGKILL');
    const [status] = await ended;
    if (status === null) interrupted++;
    const file = identify(await stat(path, { bigint: true }));
    await vi.waitFor(async () => expect(await findHolders(file, [])).toEqual([]), { timeout: 20_000 });
    // 0: clean, 3: leaks.
    expect([0, 3]).toContain((await attempt('qemu-img', ['check', path])).status);
    await expectSameOutside(raw, await asRaw(path, folder));
  }
  expect(interrupted).toBeGreaterThan(0);
}, 120_000);
