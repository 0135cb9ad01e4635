import { createHash, randomBytes } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { RangeSet } from '../../src/binary/range-set.js';
import type { BlockDevice } from '../../src/device/block-device.js';
import { Interceptor, type Passing } from '../../src/device/layer/interceptor.js';
import { Slice } from '../../src/device/layer/slice.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { DiskError } from '../../src/error/disk-error.js';
import { type CopyOptions, copyDevice } from '../../src/task/copy-device.js';
import { openOutput } from '../../src/task/output/open-output.js';
import { loopDevice } from '../support/loop-device.js';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { sourceDevice } from '../support/source-device.js';
import { mountLoop, temporaryFolder } from '../support/temporary.js';

interface Extra extends CopyOptions {
  replace?: boolean;
  signal?: AbortSignal;
  onProgress?: () => void;
}

async function copy(from: string, to: string, { replace = false, signal, onProgress, ...options }: Extra = {}) {
  await using source = sourceDevice(from);
  const output = await openOutput(to, { source, replace, signal });
  return await copyDevice(source, output, options, { signal, onProgress });
}

/** Data, holes, blocks of zeros that take room, and an end that is no multiple of anything. */
async function patchyImage(folder: string): Promise<string> {
  const path = join(folder, 'source.img');
  const file = await open(path, 'w');
  try {
    await file.truncate(24 * 1024 * 1024 + 333);
    await file.write(randomBytes(3_000_001), 0, 3_000_001, 4096);
    await file.write(Buffer.alloc(5 << 20), 0, 5 << 20, 8 << 20);
    for (let i = 0; i < 40; i++) await file.write(randomBytes(4096), 0, 4096, (14 << 20) + i * 12_288);
    await file.write(randomBytes(777), 0, 777, 24 * 1024 * 1024 - 444);
  } finally {
    await file.close();
  }
  return path;
}

const sha256 = async (path: string) =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
const allocated = async (path: string) => (await stat(path)).blocks * 512;

describe('a copy to a new file', () => {
  test('has the same bytes and takes no more room than cp --sparse=always', async () => {
    const folder = await temporaryFolder();
    const source = await patchyImage(folder);
    const [ours, theirs] = [join(folder, 'ours.img'), join(folder, 'cp.img')];
    await copy(source, ours);
    await run('cp', ['--sparse=always', source, theirs]);
    // Until then its room does not count the blocks of its extent tree.
    await run('sync', [theirs]);
    expect(await sha256(ours)).toBe(await sha256(source));
    expect(await allocated(ours)).toBeLessThanOrEqual(await allocated(theirs));
    expect(await readdir(folder)).toHaveLength(3);
  });

  test('of a slice that starts inside a block has the bytes that dd takes out', async () => {
    const folder = await temporaryFolder();
    const path = await patchyImage(folder);
    const [ours, theirs] = [join(folder, 'ours.img'), join(folder, 'dd.img')];
    await using disk = sourceDevice(path);
    const slice = new Slice(disk, 63n * 512n, 20_000n * 512n);
    await copyDevice(slice, await openOutput(ours, { source: slice }), {}, {});
    await run('dd', [`if=${path}`, `of=${theirs}`, 'bs=512', 'skip=63', 'count=20000', 'status=none']);
    expect(await sha256(ours)).toBe(await sha256(theirs));
  });

  needs({ programs: ['getfattr'] })(
    'keeps mode, times to the nanosecond and extended attributes, as stat and getfattr show them',
    async () => {
      const folder = await temporaryFolder();
      const source = await patchyImage(folder);
      const to = join(folder, 'copy.img');
      await run('chmod', ['640', source]);
      await run('setfattr', ['-n', 'user.note', '-v', 'kept', source]);
      await run('touch', ['-d', '2001-02-03 04:05:06.123456789', source]);
      await copy(source, to);
      const format = ['-c', '%a %u %g %.9Y'];
      expect(await run('stat', [...format, to])).toBe(await run('stat', [...format, source]));
      expect(await run('getfattr', ['--only-values', '-n', 'user.note', to])).toBe('kept');
    },
  );

  test.each([0, 1, 511, 4097])('of %i bytes has exactly that length', async (size) => {
    const folder = await temporaryFolder();
    const [source, to] = [join(folder, 'a'), join(folder, 'b')];
    await writeFile(source, randomBytes(size));
    await copy(source, to);
    expect(await readFile(to)).toEqual(await readFile(source));
  });

  test('leaves out what is free and keeps every other byte', async () => {
    const folder = await temporaryFolder();
    const [source, to] = [join(folder, 'a'), join(folder, 'b')];
    const bytes = randomBytes(1 << 20);
    await writeFile(source, bytes);
    const free = RangeSet.of([
      { offset: 4096n, length: 8192n },
      { offset: 100_000n, length: 500_000n },
    ]);
    const { skipped } = await copy(source, to, { free });
    const copied = await readFile(to);
    for (const { offset, length } of free.roundInwards(4096n)) bytes.fill(0, Number(offset), Number(offset + length));
    expect(copied.equals(bytes)).toBe(true);
    expect(skipped).toBe(free.roundInwards(4096n).total);
    expect(await allocated(to)).toBeLessThanOrEqual((1 << 20) - Number(skipped));
  });

  test('that is stopped leaves nothing', async () => {
    const folder = await temporaryFolder();
    const source = await patchyImage(folder);
    const stop = new AbortController();
    const copying = copy(source, join(folder, 'b'), { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(copying).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await readdir(folder)).toEqual(['source.img']);
  });

  test('of 2^53 bytes and more is refused in words, or made, as truncate(1) finds', async () => {
    const folder = await temporaryFolder();
    await using source = memoryDevice(2n ** 60n);
    const can = await attempt('truncate', ['-s', String(2n ** 60n), join(folder, 'probe')]);
    const opening = openOutput(join(folder, 'b'), { source });
    if (can.status === 0) await (await opening).discard();
    else await expect(opening).rejects.toMatchObject({ code: 'IO', errno: 'EFBIG' });
  });
});

describe('what a copy refuses', () => {
  test('is a file that is there already, unless it may be replaced', async () => {
    const folder = await temporaryFolder();
    const source = await patchyImage(folder);
    const to = join(folder, 'b');
    await writeFile(to, 'precious');
    await expect(copy(source, to)).rejects.toMatchObject({ code: 'UNSAFE', errno: 'EEXIST' });
    expect(await readFile(to, 'utf8')).toBe('precious');
    await copy(source, to, { replace: true });
    expect(await sha256(to)).toBe(await sha256(source));
    expect((await readdir(folder)).sort()).toEqual(['b', 'source.img']);
  });

  test('is a name that was taken while it ran', async () => {
    const folder = await temporaryFolder();
    const source = await patchyImage(folder);
    const to = join(folder, 'b');
    await using device = sourceDevice(source);
    const output = await openOutput(to, { source: device });
    await writeFile(to, 'precious');
    await expect(copyDevice(device, output, {}, {})).rejects.toMatchObject({ code: 'UNSAFE' });
    expect(await readFile(to, 'utf8')).toBe('precious');
  });

  test('is its own source, under any name, and a folder', async () => {
    const folder = await temporaryFolder();
    const source = await patchyImage(folder);
    await link(source, join(folder, 'hard'));
    await symlink(source, join(folder, 'soft'));
    await mkdir(join(folder, 'sub'));
    for (const name of ['hard', 'soft', 'sub', 'new/']) {
      await expect(copy(source, join(folder, name), { replace: true })).rejects.toMatchObject({ code: 'USAGE' });
    }
    await expect(copy(source, join(folder, 'no', 'b'))).rejects.toBeInstanceOf(DiskError);
  });
});

test('a copy through a link replaces what it leads to, and the link stays', async () => {
  const folder = await temporaryFolder();
  const source = await patchyImage(folder);
  await writeFile(join(folder, 'old'), 'old');
  await symlink('old', join(folder, 'soft'));
  await copy(source, join(folder, 'soft'), { replace: true });
  expect(await sha256(join(folder, 'old'))).toBe(await sha256(source));
  expect((await stat(join(folder, 'soft'))).isFile()).toBe(true);
  await utimes(join(folder, 'soft'), 1, 1);
});

test('a FIFO gets every byte, the zeros too', async () => {
  const folder = await temporaryFolder();
  const source = await patchyImage(folder);
  const fifo = join(folder, 'fifo');
  await run('mkfifo', [fifo]);
  const [sum] = await Promise.all([run('sha256sum', [fifo]), copy(source, fifo)]);
  expect(sum.split(' ')[0]).toBe(await sha256(source));
});

/** Fails to read what lies at 4 MiB, once all that is read beside it has been. */
class FailsLate extends Interceptor {
  constructor(below: BlockDevice) {
    super(below, 'late errors');
  }

  protected async around<Result>({ operation, offset }: Passing, next: () => Promise<Result>): Promise<Result> {
    if (operation !== 'read' || offset !== 4n << 20n) return await next();
    await sleep(200);
    throw new Error('late');
  }
}

test('a FIFO gets nothing more behind a part that cannot be read', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'source.img');
  const bytes = randomBytes(16 << 20);
  await writeFile(path, bytes);
  const fifo = join(folder, 'fifo');
  await run('mkfifo', [fifo]);
  await using disk = sourceDevice(path);
  const device = new FailsLate(disk);
  const reading = run('sh', ['-c', 'cat "$0" > "$0.got"', fifo]);
  const output = await openOutput(fifo, { source: device });
  await expect(copyDevice(device, output, {}, {})).rejects.toThrow('late');
  await reading;
  const got = await readFile(`${fifo}.got`);
  expect(got.length).toBeLessThanOrEqual(4 << 20);
  expect(got.equals(bytes.subarray(0, got.length))).toBe(true);
});

test('a reader that goes away is a plain error', async () => {
  const folder = await temporaryFolder();
  const source = await patchyImage(folder);
  const fifo = join(folder, 'fifo');
  await run('mkfifo', [fifo]);
  const reading = attempt('head', ['-c', '10', fifo]);
  await expect(copy(source, fifo)).rejects.toMatchObject({ code: 'IO', errno: 'EPIPE' });
  await reading;
});

const asRoot = needs({ root: true, programs: ['mke2fs', 'mount'] });

asRoot('a full disk leaves nothing', async () => {
  const folder = await temporaryFolder();
  const source = await patchyImage(folder);
  const image = join(folder, 'small.ext4');
  await run('truncate', ['-s', '8M', image]);
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-m', '0', '-O', '^has_journal', image]);
  await run('chmod', ['600', source]);
  const padded = join(folder, 'random.img');
  await writeFile(padded, randomBytes(12 << 20));
  const { mountPoint } = await mountLoop(image);
  await expect(copy(padded, join(mountPoint, 'b'))).rejects.toMatchObject({ errno: 'ENOSPC' });
  expect(await readdir(mountPoint)).toEqual(['lost+found']);
});

asRoot('a block device is written in place, zeros too, and what is free keeps what it held', async () => {
  const folder = await temporaryFolder();
  const source = await patchyImage(folder);
  const backing = join(folder, 'disk');
  const size = 25 << 20;
  await writeFile(backing, Buffer.alloc(size, 0xff));
  const { path: loop } = await loopDevice(backing);
  const free = RangeSet.of([{ offset: 1n << 20n, length: 1n << 20n }]);
  await copy(source, loop, { free });
  const wanted = await readFile(source);
  wanted.fill(0xff, 1 << 20, 2 << 20);
  expect((await readFile(loop)).subarray(0, wanted.length).equals(wanted)).toBe(true);
  await using disk = sourceDevice(backing);
  await expect(openOutput(loop, { source: disk })).rejects.toMatchObject({ code: 'USAGE' });
  await using large = memoryDevice(BigInt(size) + 1n);
  await expect(openOutput(loop, { source: large })).rejects.toMatchObject({ code: 'USAGE', errno: 'ENOSPC' });
});

for (const [type, options] of [
  ['xfs', ['-q']],
  ['btrfs', ['-q']],
] as const) {
  const it = needs({ root: true, programs: [`mkfs.${type}`, 'mount'], slow: true });
  it(`on ${type} the copy shares the blocks of its source`, async () => {
    const folder = await temporaryFolder();
    const image = join(folder, 'host');
    await run('truncate', ['-s', '400M', image]);
    await run(`mkfs.${type}`, [...options, image]);
    const { mountPoint } = await mountLoop(image);
    const source = await patchyImage(mountPoint);
    const to = join(mountPoint, 'copy.img');
    const { cloned } = await copy(source, to);
    expect(cloned).toBe(true);
    expect(await sha256(to)).toBe(await sha256(source));
    expect(await run('filefrag', ['-v', to])).toContain('shared');
  });
}
