import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../src/device/block-device.js';
import { Slice } from '../../src/device/layer/slice.js';
import { describePlain, openPlain } from '../../src/device/plain-device.js';
import { imageHead, signatures } from '../../src/image/on-disk.js';
import { openImage } from '../../src/image/open-image.js';
import { loopDevice } from '../support/loop-device.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';
import { served } from '../support/served.js';
import { temporaryFolder } from '../support/temporary.js';

const size = 1 << 20;
const refused = { code: 'UNSAFE', errno: 'EPERM', facts: { reason: 'image-head' } };

async function rawFile(): Promise<string> {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, Buffer.from('a boot sector'));
  await truncate(path, size);
  return path;
}

const opened = (path: string, format?: 'raw') => openImage(path, { access: 'write', format });

/** The first bytes of an image of that format, at the length of what it is known by. */
const heads = [
  ...signatures.map(({ format, magic, field }) => {
    const bytes = Buffer.from(magic, 'latin1');
    return { format, bytes, offset: BigInt(imageHead.fields[field].offset) };
  }),
  ...['version=1\n', '# a comment\n  \r\n#\nversion=3\r\n'].map((text) => ({
    format: 'vmdk',
    bytes: Buffer.from(text),
    offset: 0n,
  })),
];

/** As a worker thread has it. */
function forWorker(disk: BlockDevice): BlockDevice {
  const plain = describePlain(disk);
  if (plain === undefined) throw new Error('not plain');
  return openPlain(structuredClone(plain)).device;
}

describe('a raw image whose format was found out', () => {
  test('never takes the head of another format, nor in one request, nor byte by byte, from any thread', async () => {
    const path = await rawFile();
    await using disk = await opened(path);
    for (const device of [disk, forWorker(disk), new Slice(disk, 0n, 4096n)]) {
      for (const { format, bytes, offset } of heads) {
        const before = await readFile(path);
        const large = Buffer.alloc(8192);
        bytes.copy(large, Number(offset));
        const expected = `make this raw image look like a`;
        await expect(device.write(large.subarray(0, 4096), 0n), format).rejects.toMatchObject(refused);
        await expect(device.write(bytes, offset), format).rejects.toThrow(expected);
        expect((await readFile(path)).equals(before)).toBe(true);
        // The last one that makes it whole is refused, in whatever order they come.
        for (const order of [[...bytes.keys()], [...bytes.keys()].reverse()]) {
          const results: boolean[] = [];
          for (const i of order) {
            const one = device.write(bytes.subarray(i, i + 1), offset + BigInt(i), { fua: true });
            results.push(
              await one.then(
                () => true,
                () => false,
              ),
            );
          }
          // What begins like a shorter signature cannot be finished beyond it.
          expect(results, format).toContain(false);
          await device.write(Buffer.alloc(512, 0x20), 0n);
        }
      }
    }
  });

  test('is not made one of another format by zeros', async () => {
    const path = await rawFile();
    await using disk = await opened(path);
    await disk.write(Buffer.from('QEDx'), 0n);
    await expect(disk.zero(3n, 1n)).rejects.toMatchObject(refused);
    await expect(disk.zero(3n, 100_000n, { mayTrim: true })).rejects.toMatchObject(refused);
    await expect(disk.trim(3n, 100_000n)).rejects.toMatchObject(refused);
    expect((await readFile(path)).toString('latin1', 0, 4)).toBe('QEDx');
    await disk.zero(2n, 2n);
    await disk.trim(0n, 512n);
    await disk.zero(100n, 4096n);
    expect((await readFile(path)).subarray(0, 4196).every((byte) => byte === 0)).toBe(true);
  });

  test('takes everything else, in its head and across its end', async () => {
    const path = await rawFile();
    await using disk = await opened(path);
    const model = await readFile(path);
    for (const [offset, length] of [
      [0, 1],
      [511, 1],
      [500, 5000],
      [0, 300_000],
      [512, 512],
      [100, 412],
    ] as const) {
      const bytes = Buffer.alloc(length, offset + 3);
      bytes.copy(model, offset);
      await disk.write(bytes, BigInt(offset));
    }
    await disk.zero(400n, 1000n);
    model.fill(0, 400, 1400);
    expect((await readFile(path)).equals(model)).toBe(true);
    // The header of an image inside a partition is no head of the disk.
    await disk.write(Buffer.from('QFI\xfb', 'latin1'), 512n);
    await disk.write(Buffer.from('QFI\xfb', 'latin1'), 4096n);
  });

  test('takes the head of another format when its format was said', async () => {
    const path = await rawFile();
    await using disk = await opened(path, 'raw');
    await disk.write(Buffer.from('QFI\xfb', 'latin1'), 0n);
    expect((await readFile(path)).toString('latin1', 0, 4)).toBe('QFI\xfb');
  });
});

const withQemu = needs({ programs: ['qemu-img'] });
withQemu('serve refuses with EPERM what would make a raw image qcow2, unless its format is said', async () => {
  const attack = join(await temporaryFolder(), 'attack.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw', attack, '1M']);
  const header = (await readFile(attack)).subarray(0, 4096);
  // By worker threads, by the main thread, and by whom it is allowed.
  for (const flags of [[], ['--stats'], ['--format', 'raw']]) {
    const path = await rawFile();
    const before = (await readFile(path)).subarray(0, 4096);
    const allowed = flags.includes('raw');
    const { uri, stop } = await served([path, ...flags]);
    {
      await using disk = await openImage(uri, { access: 'write', format: 'raw' });
      const written = disk.write(header, 0n);
      if (allowed) await written;
      else await expect(written).rejects.toMatchObject({ errno: 'EPERM' });
    }
    await stop();
    expect((await readFile(path)).subarray(0, 4096).equals(allowed ? header : before)).toBe(true);
  }
});

test('of two connections that each write half of a signature at once, serve refuses one', async () => {
  const path = await rawFile();
  const { uri } = await served([path]);
  await using one = await openImage(uri, { access: 'write', format: 'raw' });
  await using other = await openImage(uri, { access: 'write', format: 'raw' });
  for (let i = 0; i < 200; i++) {
    await one.write(Buffer.alloc(8, 0x20), 0n);
    const halves = [one.write(Buffer.from('QF'), 0n), other.write(Buffer.from('I\xfb', 'latin1'), 2n)];
    const results = await Promise.allSettled(halves);
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(1);
  }
});

const withLoop = needs({ programs: ['losetup'], root: true, devices: ['/dev/loop-control'] });
withLoop('a block device is guarded as a file is', async () => {
  const path = await rawFile();
  const { path: loop } = await loopDevice(path);
  await using disk = await opened(loop);
  for (const device of [disk, forWorker(disk)]) {
    await expect(device.write(Buffer.from('QFI\xfb', 'latin1'), 0n)).rejects.toMatchObject(refused);
    await device.write(Buffer.from('QEDx'), 0n);
    await expect(device.zero(3n, 100n)).rejects.toMatchObject(refused);
    await expect(device.zero(3n, 8192n)).rejects.toMatchObject(refused);
    await device.zero(0n, 8192n);
    const head = Buffer.alloc(512, 1);
    await device.read(head, 0n);
    expect(head.every((byte) => byte === 0)).toBe(true);
  }
});
