import { mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { identify } from '../../../src/host/file-identity.js';
import { findHolders } from '../../../src/host/holders.js';
import { type OpenOptions, openImage } from '../../../src/image/open-image.js';
import { qcow2Header, qcow2Header3 } from '../../../src/image/qcow2/on-disk.js';
import { hold, isLocked } from '../../support/hold.js';
import { needs } from '../../support/needs.js';
import { patch } from '../../support/partition-image.js';
import { attempt, run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io', 'qemu-nbd'] });
const size = 4 << 20;

async function image(...options: string[]): Promise<string> {
  const path = join(await temporaryFolder(), 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, path, String(size)]);
  return path;
}

async function opened(path: string, options: Partial<OpenOptions> = {}): Promise<BlockDevice> {
  const disk = await openImage(path, { access: 'write', ...options });
  onTestFinished(() => disk.close());
  return disk;
}

/** Why it is not opened; the image must stay as it is, and nobody may still have it open. */
async function refusal(path: string, options: Partial<OpenOptions> = {}): Promise<unknown> {
  const before = await run('sha256sum', [path]);
  const outcome = await opened(path, options).catch((error: unknown) => error);
  expect(await run('sha256sum', [path])).toBe(before);
  expect(await findHolders(identify(await stat(path, { bigint: true })), [])).toEqual([]);
  return outcome;
}

const unsafe = (reason: string) =>
  expect.objectContaining({ code: 'UNSAFE', facts: expect.objectContaining({ reason }) });

it('writes, zeroes and trims by clusters, and all of it is there when it is closed', async () => {
  const path = await image();
  const disk = await opened(path);
  expect(disk.facts).toMatchObject({ size: BigInt(size), writable: true, trim: true, blockSize: { preferred: 65536 } });
  await disk.write(Buffer.alloc(size, 7), 0n);
  await disk.zero(65536n, 65536n, { mayTrim: true });
  await disk.trim(131_072n, 65536n);
  await disk.flush();
  await disk.close();
  const patterns = ['read -P 7 0 64k', 'read -P 0 64k 128k', 'read -P 7 192k 3904k'];
  await run('qemu-io', ['-r', '-f', 'qcow2', ...patterns.flatMap((each) => ['-c', each]), path]);
  await run('qemu-img', ['check', '-q', path]);
});

it('keeps everybody else out meanwhile, QEMU and disktool', async () => {
  const path = await image();
  const disk = await opened(path);
  for (const access of ['read', 'write'] as const) {
    await expect(openImage(path, { access })).rejects.toMatchObject({ code: 'BUSY' });
  }
  expect((await attempt('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read 0 1', path])).stderr).toContain('lock');
  await disk.close();
  await run('qemu-io', ['-f', 'qcow2', '-c', 'read 0 1', path]);
});

it('is refused while a QEMU has the image, or an overlay of it, open', async () => {
  const path = await image();
  const { end } = await hold('qemu-io', ['-f', 'qcow2', path], () => isLocked(path));
  await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({ code: 'BUSY' });
  await end();
  const overlay = join(await temporaryFolder(), 'over.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', path, '-F', 'qcow2', overlay]);
  await hold('qemu-io', ['-f', 'qcow2', overlay], () => isLocked(path));
  await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({ code: 'BUSY' });
});

it('what QEMU would repair unasked is refused', async () => {
  const path = await image('-o', 'lazy_refcounts=on');
  for (const [bits, reason] of [
    [1n, 'dirty'],
    [2n, 'corrupt'],
  ] as const) {
    await patch(path, 0, qcow2Header3, { incompatible_features: bits });
    expect(await refusal(path)).toEqual(unsafe(reason));
  }
});

it('an encrypted image, and one with a data file, are refused', async () => {
  const encrypted = await image();
  await patch(encrypted, 0, qcow2Header, { crypt_method: 2 });
  expect(await refusal(encrypted)).toEqual(unsafe('encrypted'));
  const folder = await temporaryFolder();
  const path = join(folder, 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${folder}/data`, path, '1M']);
  for (const format of [undefined, 'qcow2'] as const) {
    expect(await refusal(path, { format })).toEqual(unsafe('data-file'));
  }
});

it('an image with snapshots is written to, and not shrunk', async () => {
  const path = await image();
  await run('qemu-img', ['snapshot', '-c', 'before', path]);
  expect(await refusal(path, { shrinks: true, force: true })).toEqual(unsafe('snapshots'));
  const disk = await opened(path);
  await disk.write(Buffer.alloc(512, 1), 0n);
  await disk.close();
  await run('qemu-img', ['check', '-q', path]);
  await expect(openImage(path, { access: 'write', snapshot: 'before' })).rejects.toMatchObject({ code: 'USAGE' });
});

it('an image on others is written to when its format is said, and they stay as they are', async () => {
  const folder = await temporaryFolder();
  const place = (name: string) => join(folder, name);
  const [base, middle, top] = [place('base.img'), place('middle.qcow2'), place('top.qcow2')];
  await run('qemu-img', ['create', '-q', '-f', 'raw', base, String(size)]);
  await run('qemu-io', ['-f', 'raw', '-c', 'write -q -P 1 0 1M', base]);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', 'base.img', '-F', 'raw', middle]);
  await run('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 2 512k 1M', middle]);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', middle, '-F', 'qcow2', top]);
  const below = await run('sha256sum', [base, middle]);
  expect(await refusal(top)).toEqual(unsafe('other-file'));
  expect(await refusal(top, { format: 'qcow2', shrinks: true })).toEqual(unsafe('backing-file'));
  const disk = await opened(top, { format: 'qcow2' });
  await disk.write(Buffer.alloc(100, 3), 1000n);
  await disk.flush();
  await disk.close();
  expect(await run('sha256sum', [base, middle])).toBe(below);
  const patterns = ['read -P 1 0 1000', 'read -P 3 1000 100', 'read -P 1 1100 523188', 'read -P 2 512k 1M'];
  await run('qemu-io', ['-r', '-f', 'qcow2', ...patterns.flatMap((each) => ['-c', each]), top]);
});

it('a chain that turns in a circle, or leads through a protocol, is refused', async () => {
  const path = await image();
  await run('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', path, path]);
  // It names itself, which is no other image beside it.
  expect(await refusal(path, { format: 'qcow2' })).toMatchObject({ code: 'BUSY' });
  await run('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-F', 'raw', '-b', 'nbd://localhost', path]);
  expect(await refusal(path, { format: 'qcow2' })).toMatchObject({ facts: { reason: 'protocol' } });
});

it('an image that another one beside it stands on is refused, qcow2 and raw, by any name for it', async () => {
  for (const format of ['qcow2', 'raw'] as const) {
    const folder = await temporaryFolder();
    const path = join(folder, 'base');
    await run('qemu-img', ['create', '-q', '-f', format, path, '1M']);
    await mkdir(join(folder, 'sub'));
    await symlink(path, join(folder, 'link'));
    await symlink('../base', join(folder, 'sub', 'away'));
    const names = [
      'base',
      path,
      './sub/../base',
      'link',
      'file:base',
      `json:{"driver":"${format}","file":{"driver":"file","filename":"${path}"}}`,
    ];
    for (const name of names) {
      const overlay = join(folder, 'over.qcow2');
      await run('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', name, '-F', format, overlay, '1M']);
      // However the image is reached.
      for (const way of [path, join(folder, 'sub', 'away')]) {
        expect({ name, error: await refusal(way, { force: true }) }).toEqual({ name, error: unsafe('backing-of') });
      }
      await run('rm', [overlay]);
    }
    await (await opened(path, { format })).close();
  }
});

it('a change that is only tried out tells what would refuse it', async () => {
  const path = await image();
  const warningsOf = async () => {
    const warnings: string[] = [];
    await (
      await opened(path, { access: 'read', shrinks: true, onWarning: (message) => warnings.push(message) })
    ).close();
    return warnings;
  };
  expect(await warningsOf()).toEqual([]);
  await run('qemu-img', ['snapshot', '-c', 'before', path]);
  expect(await warningsOf()).toEqual([expect.stringContaining('would be refused in place')]);
});

it('everything is closed when it is refused', async () => {
  const path = await image();
  await run('qemu-img', ['snapshot', '-c', 'before', path]);
  const before = (await readdir('/proc/self/fd')).length;
  for (let i = 0; i < 3; i++) expect(await refusal(path, { shrinks: true })).toEqual(unsafe('snapshots'));
  expect(await refusal(path, { signal: AbortSignal.abort() })).toMatchObject({ code: 'CANCELLED' });
  expect((await readdir('/proc/self/fd')).length).toBe(before);
});
