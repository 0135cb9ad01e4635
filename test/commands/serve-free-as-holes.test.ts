import { open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { RangeSet } from '../../src/binary/range-set.js';
import { findFreeSpace } from '../../src/guest/free-space.js';
import { openGuest } from '../../src/guest/guest.js';
import { openImage } from '../../src/image/open-image.js';
import {
  allocatedSize,
  digestOutside,
  filesOf,
  fillWithGarbage,
  type GuestDisk,
  guestDiskPrograms,
  makeGuestDisk,
} from '../support/guest-disk.js';
import { needs } from '../support/needs.js';
import { attempt, disktool, disktoolHere, run } from '../support/run.js';
import { served } from '../support/served.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: [...guestDiskPrograms, 'nbdcopy', 'nbdinfo', 'qemu-img'] });
const MiB = 1 << 20;

/** A disk that has no holes itself: mke2fs makes some. */
async function fullDisk(options: Parameters<typeof makeGuestDisk>[0] = {}): Promise<GuestDisk> {
  const disk = await makeGuestDisk(options);
  await run('cp', ['--sparse=never', disk.image, `${disk.image}.full`]);
  await run('mv', [`${disk.image}.full`, disk.image]);
  return disk;
}

async function freeOf(image: string): Promise<RangeSet> {
  await using disk = await openImage(image, { access: 'read' });
  return (await findFreeSpace(await openGuest(disk))).free;
}

/** What is zeros, by base:allocation as nbdinfo reads it. */
async function zerosOf(uri: string): Promise<RangeSet> {
  const map: unknown = JSON.parse(await run('nbdinfo', ['--map', '--json', uri]));
  if (!Array.isArray(map)) throw new Error('nbdinfo writes no array');
  const zero = map.filter(({ type }: { type: number }) => (type & 2) === 2);
  return RangeSet.of(
    zero.map(({ offset, length }: { offset: number; length: number }) => ({
      offset: BigInt(offset),
      length: BigInt(length),
    })),
  );
}

async function expectSmallCopy(disk: GuestDisk, copy: string, small: string): Promise<void> {
  const folder = join(dirname(disk.image), 'files');
  const root = `${copy}?offset=${disk.rootOffset}`;
  await run('e2fsck', ['-fn', root]);
  expect(await filesOf({ root }, folder)).toEqual(await filesOf(disk, folder));
  const free = await freeOf(disk.image);
  expect(await digestOutside(copy, free)).toBe(await digestOutside(disk.image, free));
  expect(await allocatedSize(copy)).toBeLessThan((await allocatedSize(small)) + MiB);
}

it('makes a plain qemu-img convert and a plain nbdcopy write a small copy, of a source that stays as it is', async () => {
  const disk = await makeGuestDisk();
  const folder = dirname(disk.image);
  const before = await digestOutside(disk.image, RangeSet.empty);
  const small = join(folder, 'small.img');
  await disktool(['copy', '--quiet', '--sparsify', disk.image, small]);
  expect(await allocatedSize(small)).toBeLessThan(30 * MiB);
  const { uri, stop } = await served([disk.image, '--free-as-holes']);
  const [byQemu, byNbdcopy] = [join(folder, 'qemu.img'), join(folder, 'nbdcopy.img')];
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, byQemu]);
  await run('nbdcopy', [uri, byNbdcopy]);
  await stop();
  await expectSmallCopy(disk, byQemu, small);
  await expectSmallCopy(disk, byNbdcopy, small);
  await run('cmp', [small, byNbdcopy]);
  expect(await digestOutside(disk.image, RangeSet.empty)).toBe(before);
});

it('reports what is free as zero holes, and nothing else of a disk without any', async () => {
  const { image } = await fullDisk();
  const { uri } = await served([image, '--free-as-holes']);
  const free = await freeOf(image);
  expect(free.count).toBeGreaterThan(1);
  expect([...(await zerosOf(uri))]).toEqual([...free.roundInwards(4096n)]);
});

it('shows of a part of the disk, and of its parts, what is free there', async () => {
  const { image, rootOffset, rootSize } = await fullDisk();
  const free = await freeOf(image);
  const { uri } = await served([image, '--free-as-holes', '--partition', '/dev/sda1', '--range', '8M+48M', '--stats']);
  const start = BigInt(rootOffset + 8 * MiB);
  const expected = free.clip(start, BigInt(48 * MiB)).shift(-start);
  expect(rootSize).toBeGreaterThan(56 * MiB);
  expect([...(await zerosOf(uri))]).toEqual([...expected.roundInwards(4096n)]);
});

it('leaves in use what it is told to ignore, and short ranges', async () => {
  const { image, rootOffset, rootSize } = await fullDisk();
  const free = await freeOf(image);
  const ignoring = await served([image, '--free-as-holes', '--ignore', '/dev/sda2']);
  expect([...(await zerosOf(ignoring.uri))]).toEqual([
    ...free.clip(BigInt(rootOffset), BigInt(rootSize)).roundInwards(4096n),
  ]);
  await ignoring.stop();
  const longest = await served([image, '--free-as-holes', '--minimum', '4M']);
  expect([...(await zerosOf(longest.uri))]).toEqual([...free.atLeast(BigInt(4 * MiB)).roundInwards(4096n)]);
});

needs({ programs: [...guestDiskPrograms, 'qemu-io'] })('refuses writes, zeroing and trimming', async () => {
  const { image } = await fullDisk({ size: 48 * MiB });
  const before = await digestOutside(image, RangeSet.empty);
  const { uri } = await served([image, '--free-as-holes']);
  for (const command of ['write 0 4k', 'write -z 0 4k', 'discard 0 4k']) {
    const { status, stdout, stderr } = await attempt('qemu-io', ['-f', 'raw', '-c', command, uri]);
    expect({ command, status }).toEqual({ command, status: 1 });
    expect(stdout + stderr).toMatch(/read-only|permi/i);
  }
  expect(await digestOutside(image, RangeSet.empty)).toBe(before);
});

it('warns of what is left alone, of which all stays in use', async () => {
  const disk = await fullDisk({ size: 48 * MiB });
  await run('debugfs', ['-w', '-R', 'set_super_value state 2', disk.root]);
  const free = await freeOf(disk.image);
  const { status, stderr, stdout } = await disktool([
    'serve',
    disk.image,
    '--free-as-holes',
    '--run',
    'nbdinfo --map --totals --json $uri',
  ]);
  expect(status).toBe(0);
  expect(stderr).toMatch(/warning: \/dev\/sda1 of .* is left alone: /);
  expect(stderr).not.toContain('/dev/sda2');
  expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ type: 3, size: Number(free.total) }));
});

it('serves each of several exports without its own free space', async () => {
  const [one, two] = [await fullDisk({ size: 48 * MiB }), await fullDisk({ size: 64 * MiB })];
  const { socketPath } = await served([one.image, '--export', `two=${two.image}`, '--free-as-holes']);
  const uriOf = (name: string) => `nbd+unix:///${name}?socket=${socketPath}`;
  expect([...(await zerosOf(uriOf('')))]).toEqual([...(await freeOf(one.image)).roundInwards(4096n)]);
  expect([...(await zerosOf(uriOf('two')))]).toEqual([...(await freeOf(two.image)).roundInwards(4096n)]);
});

it('shows free bytes as zeros in blocks that are in use in part, of filesystems with small blocks', async () => {
  const image = join(await temporaryFolder(), 'small-blocks.img');
  await fillWithGarbage(image, 16 * MiB);
  await run('mke2fs', ['-q', '-F', '-b', '1024', '-E', 'nodiscard', image]);
  const free = await freeOf(image);
  const copy = `${image}.copy`;
  const { uri } = await served([image, '--free-as-holes']);
  await run('nbdcopy', [uri, copy]);
  const file = await open(copy);
  try {
    for (const { offset, length } of free) {
      const bytes = Buffer.alloc(Number(length), 1);
      await file.read(bytes, 0, bytes.length, Number(offset));
      expect(bytes.equals(Buffer.alloc(bytes.length))).toBe(true);
    }
  } finally {
    await file.close();
  }
  expect(await digestOutside(copy, free)).toBe(await digestOutside(image, free));
  expect((await stat(copy)).size).toBe(16 * MiB);
});

it('goes with no flag that would write, and its own flags with no other', async () => {
  for (const args of [
    ['a.img', '--free-as-holes', '--cow'],
    ['a.img', '--free-as-holes', '--force-share', '--read-only'],
    ['--memory', '1M', '--free-as-holes'],
    ['a.img', '--ignore', 'sda1'],
    ['a.img', '--minimum', '1M', '--read-only'],
  ]) {
    const { status, stderr } = await disktoolHere(['serve', ...args]);
    expect({ args, status }).toEqual({ args, status: 2 });
    expect(stderr).toContain('--free-as-holes');
  }
});
