import { mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { openImage } from '../../../src/image/open-image.js';
import { openRaw } from '../../../src/image/open-raw.js';
import { needs } from '../../support/needs.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });
const size = 4 << 20;

const create = (path: string, ...options: string[]) =>
  run('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, path]);
const write = (path: string, pattern: number, offset: number) =>
  run('qemu-io', ['-f', 'qcow2', '-c', `write -q -P ${pattern} ${offset} 64k`, path]);

async function contents(device: BlockDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(Number(device.facts.size));
  await device.read(bytes, 0n);
  await device.close();
  return bytes;
}

/** raw below, qcow2 in the middle, qcow2 on top, each with data of its own, named relative to one folder. */
async function chain() {
  const folder = await temporaryFolder();
  const [base, middle, top] = ['base.img', 'middle.qcow2', 'top.qcow2'].map((name) => join(folder, name));
  if (base === undefined || middle === undefined || top === undefined) throw new Error('three files');
  await writeFile(base, Buffer.alloc(size, 1));
  await create(middle, '-b', 'base.img', '-F', 'raw');
  await create(top, '-b', 'middle.qcow2', '-F', 'qcow2');
  await write(middle, 2, 65_536);
  await write(top, 3, 131_072);
  return { folder, base, middle, top };
}

const opened = (path: string, options: Partial<Parameters<typeof openImage>[1]> = {}) =>
  openImage(path, { access: 'read', ...options });

it('what stands on other images is read with them when its format is said, as qemu-img reads it', async () => {
  const { folder, top } = await chain();
  const whole = join(folder, 'whole');
  await run('qemu-img', ['convert', '-O', 'raw', top, whole]);
  const bytes = await contents(await opened(top, { format: 'qcow2' }));
  expect(bytes.equals(await readFile(whole))).toBe(true);
  expect([bytes[0], bytes[65_536], bytes[131_072]]).toEqual([1, 2, 3]);
});

it('a format that was only found out opens no other file: not a backing file, nor a data file', async () => {
  const folder = await temporaryFolder();
  const secret = join(folder, 'secret');
  await writeFile(secret, Buffer.alloc(size, 0x53));
  const disk = join(folder, 'disk.img');
  await create(disk, '-b', secret, '-F', 'raw');
  const refused = {
    code: 'UNSAFE',
    facts: { reason: 'other-file' },
    message: expect.stringContaining('--format qcow2'),
  };
  await expect(opened(disk)).rejects.toMatchObject(refused);
  // The file is not even looked for.
  await rm(secret);
  await expect(opened(disk)).rejects.toMatchObject(refused);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${secret}`, disk, String(size)]);
  await expect(opened(disk)).rejects.toMatchObject(refused);
  // As raw bytes it is a disk like any other.
  expect((await contents(await opened(disk, { format: 'raw' }))).toString('latin1', 0, 4)).toBe('QFI\xfb');
});

it('a backing file whose format is not recorded is read when it stands alone, and opens no third one', async () => {
  const { middle, top, base } = await chain();
  await run('qemu-img', ['rebase', '-u', '-b', 'base.img', '-F', 'raw', top]);
  // qemu-img no longer makes such images: the extension that records the format is renamed to one that nobody knows.
  const unrecorded = async (path: string) => {
    const bytes = await readFile(path);
    const at = bytes.indexOf(Buffer.from('e2792aca', 'hex'));
    bytes.writeUInt32BE(0x12345678, at);
    await writeFile(path, bytes);
  };
  await unrecorded(top);
  expect((await contents(await opened(top, { format: 'qcow2' })))[0]).toBe(1);
  await rename(base, `${base}.old`);
  await rename(middle, base);
  await expect(opened(top, { format: 'qcow2' })).rejects.toMatchObject({
    code: 'UNSAFE',
    facts: { reason: 'other-file' },
    message: expect.stringContaining('base.img'),
  });
});

it('a backing file that is missing is named, and so is one by a protocol, which is not followed', async () => {
  const { folder, base, middle, top } = await chain();
  await rm(base);
  await expect(opened(top, { format: 'qcow2' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    facts: { reason: 'backing-file' },
    message: `${middle}: its backing file is missing: ${base}: there is no such file`,
  });
  for (const name of [`json:{"driver":"file","filename":"${folder}/x"}`, 'nbd:localhost:1', 'http://localhost/x']) {
    await run('qemu-img', ['rebase', '-u', '-b', name, '-F', 'raw', top]);
    await expect(opened(top, { format: 'qcow2' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      facts: { reason: 'protocol' },
    });
  }
});

it('images that lead back to themselves, by whatever path, are refused', async () => {
  const { folder, middle, top } = await chain();
  await symlink(top, join(folder, 'link'));
  await run('qemu-img', ['rebase', '-u', '-b', 'link', '-F', 'qcow2', middle]);
  await expect(opened(top, { format: 'qcow2' })).rejects.toMatchObject({
    code: 'CORRUPT',
    facts: { reason: 'circle' },
  });
});

it('names count from the folder of the image that holds them', async () => {
  const { folder, base, top } = await chain();
  await mkdir(join(folder, 'below'));
  await rename(base, join(folder, 'below', 'base.img'));
  await run('qemu-img', ['rebase', '-u', '-b', 'below/base.img', '-F', 'raw', join(folder, 'middle.qcow2')]);
  expect((await contents(await opened(top, { format: 'qcow2' })))[0]).toBe(1);
});

it('an internal snapshot is read by its name; a raw image has none', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, String(size)]);
  await write(path, 1, 0);
  await run('qemu-img', ['snapshot', '-c', 'before', path]);
  await write(path, 2, 0);
  expect((await contents(await opened(path)))[0]).toBe(2);
  expect((await contents(await opened(path, { snapshot: 'before' })))[0]).toBe(1);
  await expect(opened(path, { snapshot: 'never' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  const raw = join(folder, 'raw');
  await writeFile(raw, '');
  await truncate(raw, size);
  await expect(opened(raw, { snapshot: 'before' })).rejects.toMatchObject({ code: 'USAGE' });
});

it('who writes to a backing file is in the way of who reads the image, and the other way round', async () => {
  const { base, top } = await chain();
  const writer = await openRaw(base, { access: 'write' });
  await expect(opened(top, { format: 'qcow2' })).rejects.toMatchObject({ code: 'BUSY' });
  await writer.close();
  const reader = await opened(top, { format: 'qcow2' });
  await expect(openRaw(base, { access: 'write' })).rejects.toMatchObject({ code: 'BUSY' });
  await reader.close();
});
