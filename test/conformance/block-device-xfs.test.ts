import { open as openPath } from 'node:fs';
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll } from 'vitest';
import { FileDevice } from '../../src/device/file-device.js';
import { call } from '../../src/host/libc.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';
import { awkwardSizes, describeBlockDevice } from './block-device.js';

const openFd = promisify(openPath);

/** XFS alone of the usual filesystems holds a file of 2^63 - 1 bytes. Mounted for the first test, gone after the last. */
let mounted: Promise<string> | undefined;
let serial = 0;

async function mount(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'disktool-test-'));
  const image = join(folder, 'xfs.img');
  await writeFile(image, '');
  await truncate(image, 320 << 20);
  await run('mkfs.xfs', ['-q', image]);
  await run('mount', ['--mkdir', '-o', 'loop', image, join(folder, 'mnt')]);
  return folder;
}

afterAll(async () => {
  if (mounted === undefined) return;
  const folder = await mounted;
  await run('umount', [join(folder, 'mnt')]);
  await rm(folder, { recursive: true });
});

async function fileOnXfs(size: bigint, flags: 'r' | 'r+'): Promise<FileDevice> {
  mounted ??= mount();
  const path = join(await mounted, 'mnt', `${serial++}.img`);
  await using handle = await open(path, 'w');
  // Node's truncate is in doubles.
  call('ftruncate', `of ${path}`, handle.fd, size);
  const fd = await openFd(path, flags);
  await rm(path);
  return new FileDevice(fd, { name: path, size, writable: flags === 'r+', blockSize: 4096 });
}

describeBlockDevice({
  name: 'FileDevice on XFS',
  open: (size) => fileOnXfs(size, 'r+'),
  openReadOnly: (size) => fileOnXfs(size, 'r'),
  sizes: awkwardSizes,
  it: needs({ programs: ['mkfs.xfs', 'mount'], root: true }),
});
