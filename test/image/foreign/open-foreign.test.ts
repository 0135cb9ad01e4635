import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { identify } from '../../../src/host/file-identity.js';
import { findHolders } from '../../../src/host/holders.js';
import {
  qedHeader,
  vdiHeader,
  vhdFooter,
  vhdxFileParameters,
  vmdkSparseHeader,
} from '../../../src/image/foreign/on-disk.js';
import { formatOf, type OpenOptions, openImage } from '../../../src/image/open-image.js';
import { hold } from '../../support/hold.js';
import { needs } from '../../support/needs.js';
import { change, patch } from '../../support/partition-image.js';
import { allBytes } from '../../support/qcow2-image.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io', 'qemu-nbd'] });
const size = 8 << 20;

/** A raw disk with data, zeros and holes in it. */
async function rawDisk(folder: string): Promise<string> {
  const path = join(folder, 'disk.img');
  await run('qemu-img', ['create', '-q', '-f', 'raw', path, String(size)]);
  const commands = ['write -q -P 1 0 300k', 'write -q -P 2 3M 64k', 'write -q -z 4M 1M', 'write -q -P 3 8191k 1k'];
  await run('qemu-io', ['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), path]);
  return path;
}

async function opened(path: string, options: Partial<OpenOptions> = {}) {
  const disk = await openImage(path, { access: 'read', ...options });
  onTestFinished(() => disk.close());
  return disk;
}

/** By qemu-img: `said` when the format has to be named. */
const kinds: { format: NonNullable<OpenOptions['format']>; options?: string; said?: string; footer?: true }[] = [
  { format: 'vmdk' },
  { format: 'vmdk', options: 'compat6=on' },
  { format: 'vmdk', options: 'subformat=streamOptimized' },
  { format: 'vmdk', options: 'subformat=monolithicFlat', said: 'other-file' },
  { format: 'vmdk', options: 'subformat=twoGbMaxExtentFlat', said: 'other-file' },
  { format: 'vmdk', options: 'subformat=twoGbMaxExtentSparse', said: 'other-file' },
  { format: 'vdi' },
  { format: 'vdi', options: 'static=on' },
  { format: 'vpc' },
  { format: 'vpc', options: 'force_size=on' },
  { format: 'vpc', options: 'subformat=fixed,force_size=on', footer: true },
  { format: 'vhdx' },
  { format: 'vhdx', options: 'subformat=fixed' },
  { format: 'vhdx', options: 'block_size=1M' },
  { format: 'qed' },
  { format: 'parallels' },
  { format: 'qcow', said: 'format' },
];

for (const { format, options = '', said, footer } of kinds) {
  it(`reads what qemu-img writes: ${format} ${options}`, async () => {
    const folder = await temporaryFolder();
    const raw = await rawDisk(folder);
    const path = join(folder, 'image');
    await run('qemu-img', ['convert', '-O', format, ...(options === '' ? [] : ['-o', options]), raw, path]);
    if (said !== undefined) {
      await expect(opened(path)).rejects.toMatchObject({
        code: 'UNSAFE',
        facts: { reason: said },
        message: expect.stringContaining(`--format ${format}`),
      });
    }
    const must = said !== undefined || footer === true;
    const warnings: string[] = [];
    if (footer) await (await opened(path, { onWarning: (message) => warnings.push(message) })).close();
    expect(warnings).toEqual(footer ? [expect.stringContaining('--format vpc')] : []);
    const disk = await opened(path, must ? { format } : {});
    expect(formatOf(disk)).toBe(format);
    expect(disk.facts).toMatchObject({ writable: false, hostFile: undefined });
    // Some formats round the size up.
    const bytes = await allBytes(disk);
    expect(bytes.length).toBeGreaterThanOrEqual(size);
    expect(bytes.subarray(0, size).equals(await readFile(raw))).toBe(true);
    expect(bytes.subarray(size).equals(Buffer.alloc(bytes.length - size))).toBe(true);
    let end = 0n;
    for await (const extent of disk.extents()) end = extent.offset + extent.length;
    expect(end).toBe(disk.facts.size);
    // QEMU reads beside us, and writes not.
    await run('qemu-io', ['-r', '-f', format, '-c', 'read 0 512', path]);
    await disk.close();
    expect(await findHolders(identify(await stat(path, { bigint: true })), [])).toEqual([]);
    await expect(opened(path, { access: 'write', format })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      facts: { reason: `format-${format}` },
    });
  });
}

async function image(format: string, ...options: string[]): Promise<string> {
  const path = join(await temporaryFolder(), `a.${format}`);
  await run('qemu-img', ['create', '-q', '-f', format, ...options, path, String(size)]);
  return path;
}

/** Refused however it is opened: for its header alone, and for what it stands on when its format is said. */
async function expectParentRefused(path: string, format: NonNullable<OpenOptions['format']>, reason = 'backing-file') {
  await expect(opened(path)).rejects.toMatchObject({ code: 'UNSAFE', facts: { reason: 'other-file' } });
  await expect(opened(path, { format })).rejects.toMatchObject({ code: 'UNSUPPORTED', facts: { reason } });
}

it('an image that stands on another is refused: qed, vmdk', async () => {
  for (const format of ['qed', 'vmdk'] as const) {
    const base = await image(format);
    const folder = await temporaryFolder();
    const path = join(folder, 'top');
    await run('qemu-img', ['create', '-q', '-f', format, '-b', base, '-F', format, path]);
    await expectParentRefused(path, format);
  }
});

it('an image that stands on another is refused: vpc', async () => {
  const path = await image('vpc');
  await patch(path, 0, vhdFooter, { disk_type: 4 });
  await expectParentRefused(path, 'vpc');
  await patch(path, 0, vhdFooter, { disk_type: 3 });
  const { size: length } = await stat(path);
  await patch(path, length - vhdFooter.size, vhdFooter, { disk_type: 4 });
  await expectParentRefused(path, 'vpc');
});

it('an image that stands on another is refused: vhdx', async () => {
  const path = await image('vhdx');
  // Where qemu-img puts the file parameters: found, not assumed.
  const bytes = await readFile(path);
  const id = bytes.indexOf(Buffer.from('3767a1ca36fa434db3b633f0aa44e76b', 'hex'));
  const region = bytes.indexOf('metadata');
  const place = region + bytes.readUInt32LE(id + 16);
  await patch(path, place, vhdxFileParameters, { Flags: 2 });
  await expectParentRefused(path, 'vhdx');
});

it('an image that stands on another is refused: vdi', async () => {
  const path = await image('vdi');
  await patch(path, 0, vdiHeader, { image_type: 4 });
  await expectParentRefused(path, 'vdi');
  await patch(path, 0, vdiHeader, { image_type: 1, uuid_link: new Uint8Array(16).fill(1) });
  await expectParentRefused(path, 'vdi');
});

it('a backing file by a protocol is never followed', async () => {
  const base = await image('qed');
  const path = join(await temporaryFolder(), 'top.qed');
  await run('qemu-img', ['create', '-q', '-f', 'qed', '-b', base, '-F', 'qed', path]);
  const header = await readFile(path);
  const offset = qedHeader.at(new DataView(header.buffer, header.byteOffset)).backing_filename_offset;
  await change(path, offset, 4, (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset).write('nbd:'));
  await expectParentRefused(path, 'qed', 'protocol');
});

it('extents by a protocol are never followed', async () => {
  for (const name of ['nbd:unix:/s', 'json:{\\"driver\\":\\"null-co\\"}', 'http://h/x', 'file:a', 'fat:rw:/etc']) {
    const path = join(await temporaryFolder(), 'a.vmdk');
    for (const line of [`RW 2048 FLAT "${name}" 0`, `RW 2048 FLAT\n "${name}" 0`, `RW\t2048 SPARSE  "${name}"`]) {
      await writeFile(path, descriptor(line));
      await expect(opened(path, { format: 'vmdk' })).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        facts: { reason: 'protocol' },
      });
    }
  }
});

it('a sparse VMDK that only holds a descriptor is one that names other files', async () => {
  const path = await image('vmdk');
  await patch(path, 0, vmdkSparseHeader, { capacity: 0n });
  const bytes = await readFile(path);
  await change(path, 512, 512, (sector) => {
    sector.fill(0);
    Buffer.from(sector.buffer, sector.byteOffset).write(descriptor('RW 2048 FLAT "/etc/hostname" 0'));
  });
  expect(bytes.readBigUInt64LE(28)).toBe(1n);
  await expect(opened(path)).rejects.toMatchObject({ code: 'UNSAFE', facts: { reason: 'other-file' } });
});

it('one extent of a disk in several files is not taken for the disk', async () => {
  const path = await image('vmdk', '-o', 'subformat=twoGbMaxExtentSparse');
  const extent = path.replace('.vmdk', '-s001.vmdk');
  for (const format of [undefined, 'vmdk'] as const) {
    await expect(opened(extent, { format })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      facts: { reason: 'extent' },
    });
  }
  await writeFile(extent, `COWD${'\0'.repeat(4096)}`);
  await expect(opened(extent, { format: 'vmdk' })).rejects.toMatchObject({ facts: { reason: 'extent' } });
});

it('extents are found beside the descriptor, wherever we stand', async () => {
  const folder = await temporaryFolder();
  const raw = await rawDisk(folder);
  await mkdir(join(folder, 'vm'));
  const path = join(folder, 'vm', 'a, b.vmdk');
  await run('qemu-img', [
    'convert',
    '-O',
    'vmdk',
    '-o',
    'subformat=twoGbMaxExtentFlat',
    raw,
    join(folder, 'vm', 'x.vmdk'),
  ]);
  await rename(join(folder, 'vm', 'x.vmdk'), path);
  const disk = await opened(path, { format: 'vmdk' });
  expect((await allBytes(disk)).equals(await readFile(raw))).toBe(true);
  await disk.close();
});

it('is read beside a writer only when that is said', async () => {
  const path = await image('vdi');
  await hold('qemu-io', ['-f', 'vdi', path], () => isLocked(path));
  await expect(opened(path)).rejects.toMatchObject({ code: 'BUSY' });
  const disk = await opened(path, { forceShare: true });
  await disk.read(new Uint8Array(512), 0n);
  await disk.close();
});

it('another format than was said, and files cut short, are refused in words', async () => {
  const qcow2 = await image('qcow2');
  for (const format of ['vmdk', 'vdi', 'vpc', 'vhdx', 'qed', 'parallels', 'qcow', 'bochs', 'cloop', 'dmg'] as const) {
    const wrong = await opened(qcow2, { format }).catch((error: unknown) => error);
    expect({ format, wrong }).toEqual({ format, wrong: expect.objectContaining({ name: 'DiskError' }) });
  }
  for (const format of ['vmdk', 'vdi', 'vpc', 'vhdx', 'qed', 'parallels'] as const) {
    const path = await image(format);
    for (const length of [0, 100, 511, 4096]) {
      await truncate(path, length);
      const disk = await opened(path, { format }).catch((error: unknown) => error);
      if (format === 'vmdk' && length > 512) continue;
      expect({ format, length, disk }).toEqual({
        format,
        length,
        disk: expect.objectContaining({ name: 'DiskError' }),
      });
    }
  }
});

it('a foreign image from an NBD server is refused in words', async () => {
  const folder = await temporaryFolder();
  const path = await image('vdi');
  const socket = join(folder, 'socket');
  const { spawn } = await import('node:child_process');
  const server = spawn('qemu-nbd', ['-r', '-t', '-f', 'raw', '-k', socket, path], { stdio: 'ignore' });
  onTestFinished(() => void server.kill());
  const uri = `nbd+unix:///?socket=${socket}`;
  await expect
    .poll(() => opened(uri).catch((error: unknown) => error), { timeout: 5000 })
    .toMatchObject({ code: 'UNSUPPORTED', facts: { reason: 'not-a-file' } });
});

/** True once /proc/locks shows a lock on the file. */
async function isLocked(path: string): Promise<boolean> {
  return (await readFile('/proc/locks', 'utf8')).includes(`:${(await stat(path)).ino} `);
}

function descriptor(extent: string): string {
  return `# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n${extent}\n`;
}

for (const [format, options = '', cut = 'image'] of [
  ['vmdk'],
  ['vmdk', 'subformat=streamOptimized'],
  ['vmdk', 'subformat=monolithicFlat', 'image-flat.vmdk'],
  ['vdi'],
  ['vdi', 'static=on'],
  ['vpc'],
  ['vhdx'],
  ['qed'],
  ['parallels'],
] as const) {
  it(`what was cut short does not read as zeros: ${format} ${options}`, async () => {
    const folder = await temporaryFolder();
    const raw = join(folder, 'raw');
    await writeFile(raw, randomBytes(size));
    const image = join(folder, cut === 'image' ? 'image' : 'image.vmdk');
    await run('qemu-img', ['convert', '-O', format, ...(options === '' ? [] : ['-o', options]), raw, image]);
    const part = join(folder, cut);
    await truncate(part, Math.floor((await stat(part)).size / 2));
    const readAll = async () => (await allBytes(await opened(image, { format }))).length;
    await expect(readAll()).rejects.toMatchObject({ name: 'DiskError' });
  });
}
