import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import { openImage } from '../../src/image/open-image.js';
import { type CopyImageOptions, copyImage } from '../../src/task/copy.js';
import { copyDevice } from '../../src/task/copy-device.js';
import { openOutput } from '../../src/task/output/open-output.js';
import { sparsifyCopy } from '../../src/task/sparsify/sparsify-copy.js';
import { filesOf, guestDiskPrograms, makeGuestDisk } from '../support/guest-disk.js';
import { needs } from '../support/needs.js';
import { qemuIo } from '../support/qcow2-image.js';
import { makeVariant, qcow2Variants } from '../support/qcow2-variants.js';
import { checked, noise, text } from '../support/qcow2-written.js';
import { run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });

const info = async (path: string) => JSON.parse(await run('qemu-img', ['info', '--output=json', path]));
const copy = (from: string, to: string, options: CopyImageOptions = {}) => copyImage(from, to, options, {});

/** Data, text, holes and zeros, in pieces that end at no cluster. */
async function rawImage(): Promise<string> {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, Buffer.concat([noise(1_000_448), Buffer.alloc(3 << 20), text(2_500_096), noise(512)]));
  await truncate(path, 20 << 20);
  return path;
}

describe('the copy of a qcow2 image is qcow2 that stands on nothing else, and equal to qemu-img', () => {
  for (const [i, title] of qcow2Variants.entries()) {
    // Each of them once; each kind of copy often.
    const layout = [
      {},
      { compress: 'zlib' },
      { clusterSize: 4096 },
      { compress: 'zstd', clusterSize: 512 },
      { clusterSize: 2 << 20 },
    ] as const;
    it(`of ${title}`, async () => {
      const path = await makeVariant(title);
      const to = join(dirname(path), 'copy.qcow2');
      const result = await copy(path, to, { format: 'qcow2', ...layout[i % layout.length] });
      expect(result).toMatchObject({ format: 'qcow2', cloned: false });
      await checked(to);
      await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', path, to]);
      const facts = await info(to);
      expect(facts).not.toHaveProperty('backing-filename');
      expect(facts['format-specific'].data).not.toHaveProperty('data-file');
    });
  }

  it('of three over each other', async () => {
    const folder = await temporaryFolder();
    const chain = ['base', 'middle', 'top'].map((name) => join(folder, `${name}.qcow2`));
    for (const [i, path] of chain.entries()) {
      const below = chain[i - 1];
      const over = below === undefined ? [] : ['-b', below, '-F', 'qcow2'];
      await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...over, path, `${8 + i}M`]);
      await qemuIo(path, [`write -P ${i + 1} ${i}M 3M`, `write -z ${i + 4}M 256k`, `write -P 9 ${700 * i}k 5k`]);
    }
    const [top = ''] = chain.slice(-1);
    const to = join(folder, 'copy.qcow2');
    await copy(top, to, { format: 'qcow2', compress: 'zlib' });
    await checked(to);
    await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', top, to]);
    expect(await info(to)).not.toHaveProperty('backing-filename');
  });

  it('of a snapshot in one', async () => {
    const path = join(await temporaryFolder(), 'a.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, '8M']);
    await qemuIo(path, ['write -P 1 1M 2M']);
    await run('qemu-img', ['snapshot', '-c', 'before', path]);
    await qemuIo(path, ['write -P 2 0 3M']);
    const to = join(dirname(path), 'copy.qcow2');
    await copy(path, to, { snapshot: 'before' });
    const raw = `${path}.raw`;
    await run('qemu-img', ['convert', '-l', 'before', '-O', 'raw', path, raw]);
    await checked(to);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, to]);
  });
});

describe('a raw image', () => {
  for (const options of [
    {},
    { compress: 'zlib' },
    { compress: 'zstd' },
    { clusterSize: 512 },
    { compress: 'zlib', clusterSize: 2 << 20 },
  ] as const) {
    it(`becomes qcow2, equal to qemu-img, zeros without room: ${JSON.stringify(options)}`, async () => {
      const path = await rawImage();
      const to = `${path}.qcow2`;
      const result = await copy(path, to, { convert: 'qcow2', ...options });
      const { allocated, compressed } = await checked(to);
      await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', path, to]);
      const facts = await info(to);
      const { compress = 'zlib', clusterSize = 65536 } = { compress: undefined, clusterSize: undefined, ...options };
      expect(facts).toMatchObject({ format: 'qcow2', 'cluster-size': clusterSize });
      expect(facts['format-specific'].data).toMatchObject({ compat: '1.1', 'compression-type': compress });
      expect(allocated * clusterSize).toBeLessThanOrEqual(3_500_032 + 4 * clusterSize);
      expect(compressed > 0).toBe('compress' in options);
      // Behind the last compressed cluster of a run, clusters of the file may be left out.
      expect(result.written).toBeGreaterThan(BigInt(allocated > compressed ? 1_000_448 : 0));
      expect(result.written).toBeLessThanOrEqual(BigInt((await stat(to)).size));
      if (!('compress' in options)) expect(result.written).toBe(BigInt((await stat(to)).size));
    });
  }

  it('stays raw when nothing is said, and a qcow2 image becomes raw when that is', async () => {
    const path = await rawImage();
    expect(await copy(path, `${path}.raw`)).toMatchObject({ format: 'raw' });
    await copy(path, `${path}.qcow2`, { convert: 'qcow2' });
    expect(await copy(`${path}.qcow2`, `${path}.back`, { convert: 'raw' })).toMatchObject({ format: 'raw' });
    for (const out of [`${path}.raw`, `${path}.back`]) await run('cmp', [path, out]);
  });

  it('of any length becomes qcow2 of whole sectors, and a warning says so', async () => {
    const path = join(await temporaryFolder(), 'a.img');
    for (const size of [0, 1, 511, 70_001]) {
      await writeFile(path, noise(size));
      const warnings: string[] = [];
      const options: CopyImageOptions = { convert: 'qcow2', force: true };
      await copyImage(path, `${path}.qcow2`, options, { onWarning: (message) => warnings.push(message) });
      await checked(`${path}.qcow2`);
      expect(await info(`${path}.qcow2`)).toMatchObject({ 'virtual-size': Math.ceil(size / 512) * 512 });
      const zeros = Math.ceil(size / 512) * 512 - size;
      expect(warnings).toEqual(size === 0 ? [] : [expect.stringContaining(`${zeros} zeros follow the disk`)]);
      await run('qemu-img', ['convert', '-O', 'raw', `${path}.qcow2`, `${path}.back`]);
      const back = await readFile(`${path}.back`);
      expect(Buffer.compare(back, Buffer.concat([await readFile(path), Buffer.alloc(zeros)]))).toBe(0);
    }
  });
});

it('a disk of 1 EiB is copied by its data alone', async () => {
  const folder = await temporaryFolder();
  await using source = memoryDevice(1n << 60n);
  const bytes = noise(3 << 20);
  await source.write(bytes, 1n << 59n);
  const to = join(folder, 'a.qcow2');
  const output = await openOutput(to, { source, format: { format: 'qcow2', clusterSize: 2 << 20 } });
  await copyDevice(source, output, {}, {});
  expect(await checked(to)).toMatchObject({ allocated: 2 });
  await using copied = await openImage(to, { access: 'read' });
  const read = Buffer.alloc(bytes.length);
  await copied.read(read, 1n << 59n);
  expect(Buffer.compare(read, bytes)).toBe(0);
});

it('a copy in another format keeps mode and times of the image', async () => {
  const path = await rawImage();
  await copy(path, `${path}.1`, { convert: 'qcow2' });
  await run('chmod', ['640', `${path}.1`]);
  await run('touch', ['-d', '2001-02-03 04:05:06.123456789', `${path}.1`]);
  const attributes = ['-c', '%a %u %g %.9Y'];
  const wanted = await run('stat', [...attributes, `${path}.1`]);
  await copy(`${path}.1`, `${path}.2`);
  await copy(`${path}.2`, `${path}.3`, { convert: 'raw' });
  await copy(`${path}.3`, `${path}.4`, { convert: 'qcow2' });
  for (const name of ['2', '3', '4']) expect(await run('stat', [...attributes, `${path}.${name}`])).toBe(wanted);
});

describe('sparsify to a copy', () => {
  const onGuest = needs({ programs: ['qemu-img', 'qemu-io', ...guestDiskPrograms] });
  for (const compress of [undefined, 'zlib', 'zstd'] as const) {
    onGuest(`writes qcow2 without the free space, whose filesystem is clean: ${compress}`, async () => {
      const disk = await makeGuestDisk();
      const out = `${disk.image}.qcow2`;
      const report = await sparsifyCopy(disk.image, out, { convert: 'qcow2', compress }, {});
      expect(report).toMatchObject({ format: 'qcow2', output: out });
      const { allocated } = await checked(out);
      // 20 files of 1 MiB deleted, and what was never used: of 96 MiB, about 12 are in use.
      expect(allocated * 65536).toBeLessThan(24 << 20);
      const raw = `${disk.image}.raw`;
      await run('qemu-img', ['convert', '-O', 'raw', out, raw]);
      const root = `${raw}?offset=${disk.rootOffset}`;
      await run('e2fsck', ['-fn', root]);
      expect(await filesOf({ root }, await temporaryFolder())).toEqual(await filesOf(disk, await temporaryFolder()));
      const again = await sparsifyCopy(out, `${out}.2`, {}, {});
      expect(again).toMatchObject({ format: 'qcow2' });
      await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', out, `${out}.2`]);
    });
  }
});

it('a qcow2 image is not replaced by a copy of itself', async () => {
  const path = join(await temporaryFolder(), 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, '1M']);
  const before = await readFile(path);
  const message = `${path} is the source itself: choose another name`;
  await expect(copy(path, path, { force: true })).rejects.toMatchObject({ code: 'USAGE', message });
  expect((await readFile(path)).equals(before)).toBe(true);
});
