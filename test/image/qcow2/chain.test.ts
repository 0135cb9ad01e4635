import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openQcow2, readQcow2Snapshots } from '../../../src/image/qcow2/qcow2.js';
import { needs } from '../../support/needs.js';
import {
  allBytes,
  convertedBytes,
  mappedExtents,
  opened,
  ownExtents,
  ownMap,
  qemuIo,
  qemuMap,
} from '../../support/qcow2-image.js';
import { run } from '../../support/run.js';
import { sourceDevice } from '../../support/source-device.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });
const mebibyte = 1 << 20;

/** A raw file with data, holes, and data again up to its end. */
async function rawBelow(path: string, size: number): Promise<void> {
  await writeFile(path, Buffer.alloc(700_000, 0x11));
  await truncate(path, size);
  const end = await open(path, 'r+');
  await end.write(Buffer.alloc(100_000, 0x22), 0, 100_000, size - 100_000);
  await end.close();
}

async function create(path: string, backing: string, format: string, options: string, size?: string): Promise<void> {
  const given = options === '' ? [] : ['-o', options];
  const sized = size === undefined ? [] : [size];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', backing, '-F', format, ...given, path, ...sized]);
}

const sizes: Record<string, { base: number; middle: string; top: string }> = {
  'all of one size': { base: 4 * mebibyte, middle: '4M', top: '4M' },
  'each longer than what lies below': { base: 2 * mebibyte, middle: '3M', top: '5M' },
  'each shorter than what lies below': { base: 5 * mebibyte, middle: '3M', top: '2M' },
  'the middle one the shortest, ending in a cluster': { base: 4 * mebibyte, middle: '1500k', top: '4M' },
  'the lowest one ending in a sector': { base: 3 * mebibyte - 3000, middle: '4M', top: '4M' },
};
const options = ['', 'cluster_size=512', 'extended_l2=on', 'compat=0.10', 'compression_type=zstd,cluster_size=4k'];

for (const [title, { base, middle, top }] of Object.entries(sizes)) {
  it(`reads and maps qcow2 over qcow2 over raw as qemu-img: ${title}`, async () => {
    const folder = await temporaryFolder();
    await rawBelow(join(folder, 'base.img'), base);
    for (const [i, given] of options.entries()) {
      const middlePath = join(folder, `middle-${i}.qcow2`);
      await create(middlePath, 'base.img', 'raw', given, middle);
      await qemuIo(middlePath, ['write -P 5 100k 130k', 'write -z 600k 64k', 'write -P 6 1400k 30k']);
      const path = join(folder, `top-${i}.qcow2`);
      await create(path, `middle-${i}.qcow2`, 'qcow2', options.at(-1 - i) ?? '', top);
      await qemuIo(path, ['write -P 7 150k 10k', 'write -z -u 128k 16k', 'discard 1792k 128k', 'write -P 8 1536k 64k']);
      const device = await opened(path);
      expect(Buffer.compare(await allBytes(device), await convertedBytes(path))).toBe(0);
      // qemu-img takes the last sector of a raw file for a whole one; ours ends where the file does.
      if (base % 512 !== 0) continue;
      expect(await ownExtents(device)).toEqual(await mappedExtents(path));
      expect(await ownMap(device)).toEqual(await qemuMap(path));
    }
  });
}

it('refuses an image without its backing file, which would seem to hold zeros', async () => {
  const folder = await temporaryFolder();
  await rawBelow(join(folder, 'base.img'), mebibyte);
  const path = join(folder, 'a.qcow2');
  await create(path, 'base.img', 'raw', '');
  await using file = sourceDevice(path);
  await expect(openQcow2(file)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `${path}: needs its backing file base.img`,
    facts: { reason: 'backing-file' },
  });
});

it('refuses an image without its data file, and a data file for one that has none', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'a.qcow2');
  const data = join(folder, 'a.raw');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data}`, path, '1M']);
  await using file = sourceDevice(path);
  await expect(openQcow2(file)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `${path}: needs its data file ${data}`,
    facts: { reason: 'data-file' },
  });
  const plain = join(folder, 'plain.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', plain, '1M']);
  await using other = sourceDevice(plain);
  await using dataFile = sourceDevice(data);
  await expect(openQcow2(other, { dataFile })).rejects.toMatchObject({ code: 'USAGE' });
});

for (const given of ['compat=0.10', 'compat=1.1', 'extended_l2=on', 'cluster_size=512']) {
  it(`lists internal snapshots as qemu-img, and reads each by its ID and by its name: ${given}`, async () => {
    const path = join(await temporaryFolder(), 'a.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', given, path, '2M']);
    await qemuIo(path, ['write -P 1 0 300k', 'write -c -P 9 512k 64k']);
    await run('qemu-img', ['snapshot', '-c', 'first', path]);
    await qemuIo(path, ['write -P 2 100k 300k', 'discard 0 64k']);
    await run('qemu-img', ['snapshot', '-c', 'ein zweiter, mit Ümlaut', path]);
    await qemuIo(path, ['write -P 3 1M 1M']);
    await run('qemu-img', ['snapshot', '-c', '1', path]);
    await qemuIo(path, ['write -P 4 0 2M']);

    const device = await opened(path);
    await using file = sourceDevice(path);
    const listed = await readQcow2Snapshots(file, device.header);
    const info: { snapshots: Record<string, unknown>[] } = JSON.parse(
      await run('qemu-img', ['info', '--output=json', path]),
    );
    expect(
      listed.map(({ id, name, takenAt, vmStateSize }) => ({
        id,
        name,
        'date-sec': Math.floor(takenAt.getTime() / 1000),
        'vm-state-size': Number(vmStateSize),
      })),
    ).toEqual(
      info.snapshots.map((snapshot) => ({
        id: snapshot.id,
        name: snapshot.name,
        'date-sec': snapshot['date-sec'],
        'vm-state-size': snapshot['vm-state-size'],
      })),
    );
    for (const { id, name, diskSize } of listed) {
      expect(diskSize).toBe(BigInt(2 * mebibyte));
      const expected = await convertedBytes(path, `snapshot.id=${id}`);
      const byId = await opened(path, { snapshot: id });
      expect(byId.snapshot?.name).toBe(name);
      expect(Buffer.compare(await allBytes(byId), expected)).toBe(0);
      // A name that is another one's ID means that one.
      if (name === '1') continue;
      const byName = await opened(path, { snapshot: name });
      expect(Buffer.compare(await allBytes(byName), expected)).toBe(0);
    }
    await expect(opened(path, { snapshot: 'none' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `${path}: no internal snapshot none: there are 1 (first), 2 (ein zweiter, mit Ümlaut), 3 (1)`,
    });
  });
}

it('shows a snapshot in the size that the disk had when it was taken', async () => {
  const path = join(await temporaryFolder(), 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', path, '1M']);
  await qemuIo(path, ['write -P 1 0 1M']);
  await run('qemu-img', ['snapshot', '-c', 'small', path]);
  await run('qemu-img', ['resize', '-q', '-f', 'qcow2', path, '3M']);
  await qemuIo(path, ['write -P 2 0 3M']);
  const device = await opened(path, { snapshot: 'small' });
  expect(device.facts.size).toBe(BigInt(mebibyte));
  expect((await allBytes(device)).every((byte) => byte === 1)).toBe(true);
  const current = await opened(path);
  expect(current.facts.size).toBe(BigInt(3 * mebibyte));
  expect((await allBytes(current)).every((byte) => byte === 2)).toBe(true);
});
