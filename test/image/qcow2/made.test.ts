import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { needs } from '../../support/needs.js';
import { allBytes, convertedBytes, mappedExtents, opened, ownExtents, qemuIo } from '../../support/qcow2-image.js';
import { attempt, run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });

async function expectSame(path: string): Promise<void> {
  const device = await opened(path);
  expect(Buffer.compare(await allBytes(device), await convertedBytes(path))).toBe(0);
  expect(await ownExtents(device)).toEqual(await mappedExtents(path));
}

/** Noise, a hole, noise again: of a size that is no multiple of a cluster. */
async function source(folder: string): Promise<string> {
  const path = join(folder, 'source.img');
  let state = 1;
  const noise = Buffer.alloc(2_000_000);
  for (let i = 0; i < noise.length; i++) {
    state = (state * 48271) % 0x7fffffff;
    // Half of it can be compressed.
    noise[i] = i % 8192 < 4096 ? state & 0xff : 65 + (i >> 12);
  }
  await writeFile(path, noise);
  await truncate(path, 4_000_256);
  await writeFile(path, noise.subarray(0, 300_032), { flag: 'a' });
  return path;
}

const conversions = [
  '',
  '-S 0',
  '-c',
  '-c -W',
  '-c -o compat=0.10',
  '-c -o cluster_size=512',
  '-c -o cluster_size=2M',
  '-c -o compression_type=zstd',
  '-c -o compression_type=zstd,cluster_size=512',
  '-c -o extended_l2=on',
  '-o extended_l2=on,cluster_size=2M',
  '-o preallocation=metadata',
];
for (const options of conversions) {
  it(`reads and maps what qemu-img convert made as qemu-img: ${options || 'plain'}`, async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'a.qcow2');
    const given = options === '' ? [] : options.split(' ');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...given, await source(folder), path]);
    await expectSame(path);
  });
}

/** What is done to an image of 3 MiB with 1 MiB of data. */
const changes: Record<string, (path: string) => Promise<unknown>> = {
  'grown, with preallocation of metadata': async (path) => {
    await run('qemu-img', ['resize', '-q', '-f', 'qcow2', '--preallocation=metadata', path, '9M']);
    await qemuIo(path, ['write -P 4 5M 10k']);
  },
  'grown, with preallocation by fallocate': (path) =>
    run('qemu-img', ['resize', '-q', '-f', 'qcow2', '--preallocation=falloc', path, '9M']),
  shrunk: (path) => run('qemu-img', ['resize', '-q', '-f', 'qcow2', '--shrink', path, '1500k']),
  'with a larger L1 table': async (path) => {
    await run('qemu-img', ['resize', '-q', '-f', 'qcow2', path, '100G']);
    await qemuIo(path, ['write -P 4 80G 100k']);
  },
  'amended to version 2': async (path) => {
    await qemuIo(path, ['write -z 0 512k', 'write -z 2M 512k']);
    await run('qemu-img', ['amend', '-f', 'qcow2', '-o', 'compat=0.10', path]);
  },
  'with a bitmap': async (path) => {
    await run('qemu-img', ['bitmap', '--add', '--enable', path, 'changes']);
    await qemuIo(path, ['write -P 5 0 100k']);
  },
  'after its snapshot has been applied and deleted': async (path) => {
    await run('qemu-img', ['snapshot', '-c', 'one', path]);
    await qemuIo(path, ['write -P 6 1M 200k']);
    await run('qemu-img', ['snapshot', '-a', 'one', path]);
    await qemuIo(path, ['write -P 7 1500k 200k']);
    await run('qemu-img', ['snapshot', '-d', 'one', path]);
  },
  'that took over its backing file': async (path) => {
    await writeFile(`${path}.below`, Buffer.alloc(2_000_384, 0x33));
    await run('qemu-img', ['rebase', '-u', '-b', `${path}.below`, '-F', 'raw', path]);
    await run('qemu-img', ['rebase', '-b', '', path]);
  },
};
for (const [title, change] of Object.entries(changes)) {
  it(`reads and maps an image as qemu-img: ${title}`, async () => {
    const path = join(await temporaryFolder(), 'a.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, '3M']);
    await qemuIo(path, ['write -P 3 1M 1M']);
    await change(path);
    if (title.includes('L1')) {
      const device = await opened(path);
      expect(await ownExtents(device)).toEqual(await mappedExtents(path));
      const bytes = Buffer.alloc(200 << 10);
      await device.read(bytes, 80n << 30n);
      expect(bytes.subarray(0, 100 << 10).every((byte) => byte === 4)).toBe(true);
      expect(bytes.subarray(100 << 10).every((byte) => byte === 0)).toBe(true);
    } else await expectSame(path);
  });
}

it('reads and maps an image as qemu-img that a crash has left dirty, and says that it is', async () => {
  const path = join(await temporaryFolder(), 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'lazy_refcounts=on', path, '4M']);
  const commands = ['write -P 1 0 1M', 'flush', 'abort'].flatMap((command) => ['-c', command]);
  await attempt('qemu-io', ['-f', 'qcow2', ...commands, path]);
  expect((await opened(path)).header).toMatchObject({ dirty: true, corrupt: false, lazyRefcounts: true });
  await expectSame(path);
});
