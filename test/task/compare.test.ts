import { randomBytes } from 'node:crypto';
import { copyFile, open, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { BlockDevice, DeviceFacts } from '../../src/device/block-device.js';
import { ErrorLayer } from '../../src/device/layer/error.js';
import { Interceptor, type Passing } from '../../src/device/layer/interceptor.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { compareImages, firstDifference, stageOf } from '../../src/task/compare.js';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const MiB = 1 << 20;

/** Data, holes and zeros that take room, over 24 MiB and a sector. */
async function patchyImage(path: string): Promise<string> {
  const file = await open(path, 'w');
  try {
    await file.truncate(24 * MiB + 512);
    await file.write(randomBytes(3 * MiB + 4096), 0, 3 * MiB + 4096, 65_536);
    await file.write(Buffer.alloc(5 * MiB), 0, 5 * MiB, 8 * MiB);
    for (let i = 0; i < 40; i++) await file.write(randomBytes(4096), 0, 4096, 14 * MiB + i * 12_288);
    await file.write(randomBytes(512), 0, 512, 24 * MiB);
  } finally {
    await file.close();
  }
  return path;
}

async function patch(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    byte[0] = (byte[0] ?? 0) ^ 0xff;
    await file.write(byte, 0, 1, offset);
  } finally {
    await file.close();
  }
}

/** What qemu-img says of two images: its status, and the sector of the first difference. */
async function qemuCompare(a: string, b: string, ...flags: string[]) {
  const { status, stdout } = await attempt('qemu-img', ['compare', ...flags, a, b]);
  const [, offset] = /offset (\d+)/i.exec(stdout) ?? [];
  return { same: status === 0, sector: offset === undefined ? undefined : Number(offset) };
}

async function ours(a: string, b: string, strict = false) {
  const { same, difference } = await compareImages({ image: a }, { image: b }, { strict });
  const offset = difference !== undefined && 'offset' in difference ? Number(difference.offset) : undefined;
  return { same, offset, kind: difference?.kind };
}

describe('compareImages', () => {
  const it = needs({ programs: ['qemu-img'] });
  const variants = [
    ['raw'],
    ['qcow2'],
    ['qcow2', '-c'],
    ['qcow2', '-o', 'cluster_size=512'],
    ['qcow2', '-o', 'cluster_size=2M'],
    ['qcow2', '-o', 'extended_l2=on,cluster_size=128k'],
    ['qcow2', '-S', '0'],
  ];
  it('agrees with qemu-img on images of every kind, the same and patched anywhere', async () => {
    const folder = await temporaryFolder();
    const image = await patchyImage(join(folder, 'a.img'));
    // In data, in a hole, in zeros that take room, at either side of a request, in the last byte.
    const places = [65_536 + 77, 5 * MiB + 1, 9 * MiB, 2 * MiB - 1, 2 * MiB, 14 * MiB + 4095, 24 * MiB + 511];
    for (const [i, [format = 'raw', ...options]] of variants.entries()) {
      const copy = join(folder, `b${i}`);
      await run('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, image, copy]);
      expect(await qemuCompare(image, copy, '-f', 'raw')).toMatchObject({ same: true });
      expect(await ours(image, copy), `${format} ${options}`).toEqual({ same: true });
      expect(await ours(copy, image), `${format} ${options}`).toEqual({ same: true });
      for (const place of places) {
        const patched = join(folder, 'patched.img');
        await copyFile(image, patched);
        await patch(patched, place);
        // A difference behind the first is none that is reported.
        if (place < 24 * MiB) await patch(patched, 24 * MiB + 5);
        const found = await ours(patched, copy);
        expect(found, `${format} ${options}`).toEqual({ same: false, offset: place, kind: 'content' });
        expect(await ours(copy, patched)).toEqual(found);
        const theirs = await qemuCompare(patched, copy, '-f', 'raw', '-F', format);
        expect(theirs).toEqual({ same: false, sector: place - (place % 512) });
      }
    }
  }, 60_000);

  it('takes a rest of zeros for no difference, and says that sizes differ when strict, as qemu-img does', async () => {
    const folder = await temporaryFolder();
    const [short, long] = [await patchyImage(join(folder, 'a.img')), join(folder, 'b.img')];
    await copyFile(short, long);
    await truncate(long, 40 * MiB);
    for (const [a, b] of [
      [short, long],
      [long, short],
    ] as const) {
      expect(await ours(a, b)).toEqual({ same: true });
      expect(await qemuCompare(a, b, '-f', 'raw', '-F', 'raw')).toMatchObject({ same: true });
      expect(await ours(a, b, true)).toEqual({ same: false, kind: 'size' });
      expect(await qemuCompare(a, b, '-s', '-f', 'raw', '-F', 'raw')).toMatchObject({ same: false });
    }
    await patch(long, 30 * MiB + 3);
    expect(await ours(short, long)).toEqual({ same: false, kind: 'content', offset: 30 * MiB + 3 });
    expect(await qemuCompare(short, long, '-f', 'raw', '-F', 'raw')).toEqual({ same: false, sector: 30 * MiB });
  });

  it('tells where room is taken in one image alone when strict, as qemu-img does', async () => {
    const folder = await temporaryFolder();
    const [a, same, other] = ['a.img', 'b.img', 'c.img'].map((name) => join(folder, name));
    if (a === undefined || same === undefined || other === undefined) throw new Error('no names');
    await patchyImage(a);
    for (const copy of [same, other]) await run('cp', ['--sparse=always', a, copy]);
    const file = await open(same, 'r+');
    try {
      await file.write(Buffer.alloc(5 * MiB), 0, 5 * MiB, 8 * MiB);
    } finally {
      await file.close();
    }
    const raw = ['-f', 'raw', '-F', 'raw'];
    expect(await ours(a, same, true)).toEqual({ same: true });
    expect(await qemuCompare(a, same, '-s', ...raw)).toMatchObject({ same: true });
    expect(await ours(a, other)).toEqual({ same: true });
    expect(await ours(a, other, true)).toEqual({ same: false, kind: 'allocation', offset: 8 * MiB });
    expect(await qemuCompare(a, other, '-s', ...raw)).toEqual({ same: false, sector: 8 * MiB });
    const { difference } = await compareImages({ image: other }, { image: a }, { strict: true });
    expect(difference).toMatchObject({ allocatedIn: a });
    // What differs before that is found first, though it must be read for it.
    await patch(other, 3 * MiB);
    expect(await ours(a, other, true)).toEqual({ same: false, kind: 'content', offset: 3 * MiB });
  });
});

/** Counts the bytes that are read, and takes whole blocks alone. */
class Blocks extends Interceptor {
  bytes = 0n;

  constructor(below: BlockDevice, minimum: number) {
    super(below, 'blocks');
    this.facts = { ...below.facts, blockSize: { minimum, preferred: minimum, maximum: 1 << 20 } };
  }

  override readonly facts: DeviceFacts;

  protected around<Result>({ operation, length }: Passing, next: () => Promise<Result>): Promise<Result> {
    if (operation === 'read') this.bytes += length;
    return next();
  }
}

describe('firstDifference', () => {
  const filled = async (size: number, ...places: number[]) => {
    const device = memoryDevice(BigInt(size));
    for (const place of places) await device.write(Buffer.of(7), BigInt(place));
    return device;
  };

  test('finds nothing in disks of 2^63 - 1 bytes at once', async () => {
    await using a = memoryDevice(2n ** 63n - 1n);
    await using b = memoryDevice(2n ** 63n - 1n);
    await a.write(Buffer.of(9), 2n ** 62n + 5n);
    expect(await firstDifference(a, b, {})).toEqual({ kind: 'content', offset: 2n ** 62n + 5n });
    await b.write(Buffer.of(9), 2n ** 62n + 5n);
    expect(await firstDifference(a, b, { strict: true })).toBeUndefined();
  });

  test('reads neither what both know to be zeros, nor more than it must of one that takes whole blocks', async () => {
    await using a = new Blocks(await filled(10_000_000, 5_000_000), 512);
    await using b = new Blocks(await filled(10_000_123, 5_000_000, 10_000_122), 65_536);
    expect(await firstDifference(a, b, {})).toEqual({ kind: 'content', offset: 10_000_122n });
    expect(a.bytes).toBe(4096n);
    expect(b.bytes).toBeLessThanOrEqual(65_536n * 3n);
  });

  test('tells at which stage it failed, and closes nothing under what is being read', async () => {
    const injected = { errno: 'EIO', rate: 1 } as const;
    for (const [operation, stage] of [
      ['read', 'read'],
      ['extents', 'map'],
    ] as const) {
      await using a = await filled(10_000_000, 5_000_000);
      await using b = new ErrorLayer(await filled(10_000_000, 5_000_000), { byOperation: { [operation]: injected } });
      const error: unknown = await firstDifference(a, b, {}).catch((error: unknown) => error);
      expect(error).toMatchObject({ code: 'IO', facts: { reason: 'injected' } });
      expect(stageOf(error)).toBe(stage);
    }
    const missing = await compareImages({ image: '/nowhere' }, { image: '/nowhere' }).catch(stageOf);
    expect(missing).toBe('open');
  });

  test('ends when it is told to', async () => {
    await using a = await filled(10_000_000, 5_000_000);
    await using b = await filled(10_000_000, 5_000_000);
    const stop = new AbortController();
    const onProgress = () => stop.abort();
    await expect(firstDifference(a, b, {}, { signal: stop.signal, onProgress })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
  });

  test('reports every byte once', async () => {
    await using a = await filled(9_000_000, 0, 5_000_000);
    await using b = await filled(12_000_001, 0, 5_000_000);
    let last = { done: 0n, total: 0n as bigint | undefined };
    await firstDifference(a, b, {}, { onProgress: ({ done, total }) => (last = { done, total }) });
    expect(last).toEqual({ done: 12_000_001n, total: 12_000_001n });
  });
});
