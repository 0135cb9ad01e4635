import { chmod, copyFile, open, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { max } from '../../../src/binary/convert.js';
import { RangeSet } from '../../../src/binary/range-set.js';
import { openImage } from '../../../src/image/open-image.js';
import { planSparsify } from '../../../src/task/sparsify/plan.js';
import { reportStatus } from '../../../src/task/sparsify/report.js';
import { type SparsifyOptions, sparsify } from '../../../src/task/sparsify/sparsify.js';
import {
  allocatedSize,
  backupSuperblocks,
  digestOutside,
  filesOf,
  type GuestDisk,
  guestDiskPrograms,
  makeGuestDisk,
} from '../../support/guest-disk.js';
import { needs } from '../../support/needs.js';
import { attempt, run } from '../../support/run.js';

const it = needs({ programs: guestDiskPrograms });
const shrink = (image: string, options: SparsifyOptions = {}) => sparsify(image, options, {});
const MiB = 1 << 20;

/** The bytes that sparsify says it may give back. */
async function reportedFree(image: string): Promise<RangeSet> {
  await using disk = await openImage(image, { access: 'read' });
  const { trim } = await planSparsify(disk, {}, {});
  return trim;
}

it('changes no file, no byte outside the free ranges, and no backup superblock', async () => {
  const disk = await makeGuestDisk();
  const folder = join(dirname(disk.image), 'files');
  const files = await filesOf(disk, folder);
  const free = await reportedFree(disk.image);
  const outside = await digestOutside(disk.image, free);
  const before = await allocatedSize(disk.image);
  const checks = await checksByBackup(disk);

  const report = await shrink(disk.image);

  expect(Object.keys(files)).toHaveLength(41);
  expect(await filesOf(disk, folder)).toEqual(files);
  expect(await digestOutside(disk.image, free)).toBe(outside);
  expect(before - (await allocatedSize(disk.image))).toBeGreaterThan(70 * MiB);
  expect(report.allocatedBefore).toBe(BigInt(before));
  expect(report.allocatedAfter).toBe(BigInt(await allocatedSize(disk.image)));
  await run('e2fsck', ['-fn', disk.root]);
  expect(await checksByBackup(disk)).toEqual(checks);
  expect(checks.length).toBeGreaterThan(0);
});

/** What e2fsck says of the filesystem when it starts from each backup superblock. */
async function checksByBackup(disk: GuestDisk): Promise<string[]> {
  const { blocks, blockSize } = await backupSuperblocks(disk);
  const checks: string[] = [];
  for (const block of blocks) {
    const { status, stdout } = await attempt('e2fsck', ['-fn', '-b', block, '-B', blockSize, disk.root]);
    checks.push(`${block}: ${status} ${stdout}`);
  }
  return checks;
}

it('gives back what dumpe2fs calls free, and says the same of each volume', async () => {
  const disk = await makeGuestDisk();
  const dump = await run('dumpe2fs', ['-h', disk.root]);
  const field = (name: string) => BigInt(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(dump)?.[1] ?? -1);
  const freeBytes = field('Free blocks') * field('Block size');

  const { volumes } = await shrink(disk.image);

  expect(volumes).toMatchObject([
    { device: '/dev/sda1', type: 'ext4', size: BigInt(disk.rootSize), free: freeBytes, reclaimable: freeBytes },
    { device: '/dev/sda2', type: 'swap', size: BigInt(8 * MiB), free: BigInt(8 * MiB - 4096) },
  ]);
});

it('turns zeros in use into holes, unless told not to', async () => {
  const disk = await makeGuestDisk();
  const kept = await shrink(disk.image, { scan: false });
  expect(kept.zeros).toBe(0n);
  const scanned = await shrink(disk.image);
  expect(scanned.zeros).toBeGreaterThanOrEqual(BigInt(3 * MiB));
  await run('e2fsck', ['-fn', disk.root]);
});

it('finds nothing more the second time', async () => {
  const disk = await makeGuestDisk();
  await shrink(disk.image);
  const again = await shrink(disk.image);
  expect(again.zeros).toBe(0n);
  expect(again.volumes.map(({ reclaimable }) => reclaimable)).toEqual([0n, 0n]);
  expect(again.allocatedAfter).toBe(again.allocatedBefore);
});

it('changes nothing in a dry run, and foretells what the run gives back', async () => {
  const disk = await makeGuestDisk();
  const before = await stat(disk.image, { bigint: true });
  const bytes = await digestOutside(disk.image, RangeSet.empty);
  const foretold = await shrink(disk.image, { dryRun: true });
  const after = await stat(disk.image, { bigint: true });
  expect({ mtime: after.mtimeNs, ctime: after.ctimeNs, blocks: after.blocks }).toEqual({
    mtime: before.mtimeNs,
    ctime: before.ctimeNs,
    blocks: before.blocks,
  });
  expect(await digestOutside(disk.image, RangeSet.empty)).toBe(bytes);
  const done = await shrink(disk.image);
  expect(done.volumes).toEqual(foretold.volumes);
});

it('gives back room that is set aside but was never written, which looks like a hole', async () => {
  const disk = await makeGuestDisk();
  await shrink(disk.image);
  await run('fallocate', ['--keep-size', '--length', String((await stat(disk.image)).size), disk.image]);
  const { volumes, allocatedBefore, allocatedAfter } = await shrink(disk.image);
  expect(volumes[0]?.reclaimable).toBeGreaterThan(BigInt(60 * MiB));
  expect(Number(allocatedBefore) - Number(allocatedAfter)).toBeGreaterThan(60 * MiB);
});

it("keeps the image's mode and times to the nanosecond, and its extended attributes", async () => {
  const disk = await makeGuestDisk();
  await chmod(disk.image, 0o640);
  await utimes(disk.image, 1_000_000_000, 1_100_000_000.123);
  await run('setfattr', ['-n', 'user.origin', '-v', 'template', disk.image]);
  const before = await stat(disk.image, { bigint: true });
  await shrink(disk.image);
  const after = await stat(disk.image, { bigint: true });
  for (const name of ['mode', 'uid', 'gid', 'size', 'atimeNs', 'mtimeNs'] as const)
    expect(after[name], name).toBe(before[name]);
  expect(await run('getfattr', ['--only-values', '-n', 'user.origin', disk.image])).toBe('template');
});

it('leaves short free ranges be when told to', async () => {
  const disk = await makeGuestDisk();
  const ranges = [...(await reportedFree(disk.image)).clip(BigInt(disk.rootOffset), BigInt(disk.rootSize))];
  const longest = ranges.reduce((most, { length }) => max(length, most), 0n);
  const kept = ranges.filter(({ length }) => length === longest);
  expect(kept.length).toBeLessThan(ranges.length);
  const { volumes } = await shrink(disk.image, { dryRun: true, minimum: longest });
  expect(volumes[0]?.free).toBeGreaterThan(longest * BigInt(kept.length));
  expect(volumes[0]?.reclaimable).toBe(longest * BigInt(kept.length));
});

it('leaves alone what it is told to ignore, by any of its names', async () => {
  const disk = await makeGuestDisk();
  const { volumes } = await shrink(disk.image, { ignore: ['sda1', '/dev/vda2'] });
  expect(volumes.map(({ leftAlone }) => leftAlone?.kind)).toEqual(['ignored', 'ignored']);
  expect(reportStatus({ volumes }, true)).toBe(0);
});

it('refuses names that are no volume before it changes anything', async () => {
  const disk = await makeGuestDisk();
  const before = await allocatedSize(disk.image);
  await expect(shrink(disk.image, { ignore: ['/dev/sda9'] })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(shrink(disk.image, { ignore: ['/dev/sda'] })).rejects.toMatchObject({ code: 'USAGE' });
  await expect(shrink(disk.image, { zero: ['/dev/sda1'] })).rejects.toMatchObject({ code: 'UNSAFE' });
  expect(await allocatedSize(disk.image)).toBe(before);
});

it('wipes a swap partition by name, header and all, and a filesystem only when forced', async () => {
  const disk = await makeGuestDisk();
  await shrink(disk.image, { zero: ['/dev/sda2'] });
  await expectZeros(disk.image, disk.swapOffset, 8 * MiB);
  await run('e2fsck', ['-fn', disk.root]);
  await shrink(disk.image, { zero: ['/dev/sda1'], force: true });
  await expectZeros(disk.image, disk.rootOffset, disk.rootSize);
});

async function expectZeros(path: string, offset: number, length: number): Promise<void> {
  const file = await open(path);
  try {
    const bytes = Buffer.alloc(length, 1);
    await file.read(bytes, 0, length, offset);
    expect(bytes.equals(Buffer.alloc(length))).toBe(true);
  } finally {
    await file.close();
  }
}

it('leaves a filesystem with errors alone, byte for byte, with status 3', async () => {
  const disk = await makeGuestDisk();
  await run('debugfs', ['-w', '-R', 'set_super_value state 2', disk.root]);
  const copy = `${disk.image}.before`;
  await copyFile(disk.image, copy);
  const { volumes } = await shrink(disk.image, { scan: false, ignore: ['sda2'] });
  expect(volumes[0]).toMatchObject({ reclaimable: 0n, leftAlone: { kind: 'refused' } });
  expect(reportStatus({ volumes }, false)).toBe(3);
  await run('cmp', [copy, disk.image]);
});

it('leaves every filesystem alone when swap holds a hibernated guest', async () => {
  const disk = await makeGuestDisk();
  const file = await open(disk.image, 'r+');
  await file.write(Buffer.from('S1SUSPEND\0'), 0, 10, disk.swapOffset + 4096 - 10);
  await file.close();
  const { volumes } = await shrink(disk.image, { scan: false });
  expect(volumes.map(({ leftAlone }) => leftAlone?.kind)).toEqual(['refused', 'refused']);
});

it('leaves overlapping partitions alone', async () => {
  const disk = await makeGuestDisk();
  const table = `label: dos\nstart=2048, size=100000, type=83\nstart=90000, size=50000, type=83\n`;
  const copy = `${disk.image}.overlap`;
  await copyFile(disk.image, copy);
  // sfdisk refuses to write such a table, so its second entry is moved by hand: MBR, entry 2, first sector.
  await run('sfdisk', ['--quiet', '--wipe', 'always', copy], {
    stdin: 'pipe',
    input: table.replace('start=90000', 'start=110000'),
  });
  const file = await open(copy, 'r+');
  await file.write(Buffer.from(Uint32Array.of(90_000).buffer), 0, 4, 446 + 16 + 8);
  await file.close();
  const { volumes } = await shrink(copy, { dryRun: true });
  expect(volumes.map(({ leftAlone }) => leftAlone?.kind)).toEqual(['refused', 'refused']);
});

test('calls an image in which nothing is recognised done, unless strict', async () => {
  const report = {
    volumes: [
      {
        device: '/dev/sda',
        type: 'unknown',
        size: 1n,
        free: 0n,
        reclaimable: 0n,
        wiped: false,
        leftAlone: { kind: 'unsupported', reason: 'x' },
      },
    ],
  } as const;
  expect(reportStatus(report, false)).toBe(0);
  expect(reportStatus(report, true)).toBe(3);
});
