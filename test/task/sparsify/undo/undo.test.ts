import { copyFile, open, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { RangeSet } from '../../../../src/binary/range-set.js';
import { openImage } from '../../../../src/image/open-image.js';
import { planSparsify } from '../../../../src/task/sparsify/plan.js';
import { type SparsifyOptions, sparsify } from '../../../../src/task/sparsify/sparsify.js';
import { type RestoreOptions, restore } from '../../../../src/task/sparsify/undo/restore.js';
import {
  allocatedSize,
  digestOutside,
  fillWithGarbage,
  type GuestDisk,
  guestDiskPrograms,
  makeGuestDisk,
} from '../../../support/guest-disk.js';
import { needs } from '../../../support/needs.js';
import { run } from '../../../support/run.js';
import { temporaryFolder } from '../../../support/temporary.js';

const it = needs({ programs: guestDiskPrograms });
const MiB = 1 << 20;

interface Undone extends GuestDisk {
  /** A copy of the image as it was. */
  readonly original: string;
  readonly undo: string;
}

async function sparsified(options: SparsifyOptions = {}, guest = 'one'): Promise<Undone> {
  const disk = await makeGuestDisk({ size: 64 * MiB, guest });
  const folder = dirname(disk.image);
  const [original, undo] = [join(folder, 'original.img'), join(folder, 'guest.undo')];
  await run('cp', ['--sparse=never', disk.image, original]);
  await sparsify(disk.image, { ...options, undo }, {});
  return { ...disk, original, undo };
}

const putBack = ({ undo, image }: Undone, options: RestoreOptions = {}) => restore(undo, image, options, {});
const same = (a: string, b: string) => run('cmp', [a, b]);

async function patch(path: string, offset: number, text: string): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(Buffer.from(text), 0, text.length, offset);
  await file.close();
}

/** The first byte of the longest range that was given back. */
async function longestFree({ original }: Undone): Promise<number> {
  await using disk = await openImage(original, { access: 'read' });
  const { trim } = await planSparsify(disk, {}, {});
  const [longest] = [...trim].sort((a, b) => Number(b.length - a.length));
  return Number(longest?.offset);
}

it('an image that was given back to is byte for byte what it was when that is undone', async () => {
  const disk = await sparsified({ verify: true });
  expect(await allocatedSize(disk.image)).toBeLessThan(20 * MiB);
  const report = await putBack(disk);
  await same(disk.image, disk.original);
  expect(report).toMatchObject({ present: 0n, complete: true, dryRun: false, size: BigInt(64 * MiB) });
  expect(report.restored).toBeGreaterThan(BigInt(30 * MiB));
  await run('e2fsck', ['-fn', disk.root]);
});

it('swap that was wiped by name, and a filesystem, come back', async () => {
  const disk = await sparsified({ zero: ['/dev/sda1', '/dev/sda2'], force: true });
  expect(await allocatedSize(disk.image)).toBeLessThan(2 * MiB);
  await putBack(disk);
  await same(disk.image, disk.original);
});

it('an undo file is for its owner alone, sparse, and has what it keeps at its place on the disk', async () => {
  const disk = await sparsified();
  const { mode, size, blocks } = await stat(disk.undo);
  expect(mode & 0o777).toBe(0o600);
  expect(size).toBeGreaterThan(64 * MiB);
  expect(blocks * 512).toBeLessThan(62 * MiB);
  const at = await longestFree(disk);
  const [kept, was] = await Promise.all([disk.undo, disk.original].map((path) => open(path)));
  const bytes = { kept: Buffer.alloc(4096), was: Buffer.alloc(4096) };
  await kept?.read(bytes.kept, 0, 4096, at + MiB);
  await was?.read(bytes.was, 0, 4096, at);
  await kept?.close();
  await was?.close();
  expect(bytes.kept.equals(bytes.was)).toBe(true);
});

it('keeps nothing of what is zeros, and an image full of zeros comes back as holes', async () => {
  const disk = await makeGuestDisk({ size: 48 * MiB });
  const folder = dirname(disk.image);
  const [original, undo] = [join(folder, 'original.img'), join(folder, 'guest.undo')];
  await sparsify(disk.image, {}, {});
  await run('cp', ['--sparse=never', disk.image, original]);
  await copyFile(original, disk.image);
  const { kept } = await sparsify(disk.image, { undo }, {});
  expect(kept).toBe(0n);
  expect((await stat(undo)).blocks * 512).toBeLessThan(MiB);
  expect(await restore(undo, disk.image, {}, {})).toMatchObject({ restored: 0n, present: 0n, complete: true });
  await same(disk.image, original);
});

it('putting back can be done again, from wherever it was cut off', async () => {
  const disk = await sparsified();
  const at = await longestFree(disk);
  // As a kill would leave it: some blocks are there, one of them in part.
  await run('dd', [
    `if=${disk.original}`,
    `of=${disk.image}`,
    'bs=1',
    `skip=${at}`,
    `seek=${at}`,
    'count=20000',
    'conv=notrunc',
    'status=none',
  ]);
  await putBack(disk);
  await same(disk.image, disk.original);
  const again = await putBack(disk);
  expect(again.restored).toBe(0n);
  expect(again.present).toBeGreaterThan(BigInt(30 * MiB));
});

it('a dry run says what would be put back, and changes nothing', async () => {
  const disk = await sparsified();
  const before = await digestOutside(disk.image, RangeSet.empty);
  const foretold = await putBack(disk, { dryRun: true });
  expect(await digestOutside(disk.image, RangeSet.empty)).toBe(before);
  expect(await putBack(disk)).toEqual({ ...foretold, dryRun: false });
});

it('an image in which a file was written is refused, with the place, and stays as it is', async () => {
  const disk = await sparsified();
  const file = join(dirname(disk.image), 'news');
  await writeFile(file, 'news');
  await run('debugfs', ['-w', '-R', `write ${file} news`, disk.root]);
  const before = await digestOutside(disk.image, RangeSet.empty);
  await expect(putBack(disk)).rejects.toMatchObject({
    code: 'UNSAFE',
    facts: { reason: 'changed-in-use' },
    message: expect.stringMatching(/bytes in use from byte 0x[0-9a-f]+ to 0x[0-9a-f]+/),
  });
  expect(await digestOutside(disk.image, RangeSet.empty)).toBe(before);
});

it('bytes that were given back and hold something now are refused, kept or not, and nothing is put back', async () => {
  const disk = await sparsified();
  const at = await longestFree(disk);
  await patch(disk.image, at + 70_000, 'mine');
  const before = await digestOutside(disk.image, RangeSet.empty);
  await expect(putBack(disk)).rejects.toMatchObject({ code: 'UNSAFE', facts: { reason: 'changed-given-back' } });
  expect(await digestOutside(disk.image, RangeSet.empty)).toBe(before);
});

it('a disk of another size, and the disk of another guest, are refused', async () => {
  const disk = await sparsified();
  const other = await sparsified({}, 'another');
  await expect(restore(disk.undo, other.image, {}, {})).rejects.toMatchObject({ facts: { reason: 'changed-in-use' } });
  await run('truncate', ['-s', '+4096', disk.image]);
  await expect(putBack(disk)).rejects.toMatchObject({ code: 'UNSAFE', facts: { reason: 'other-disk' } });
});

it('a copy of the image under another name is the same disk', async () => {
  const disk = await sparsified();
  const moved = `${disk.image}.moved`;
  await copyFile(disk.image, moved);
  await restore(disk.undo, moved, {}, {});
  await same(moved, disk.original);
});

it('no file that is there becomes an undo file, the image itself least of all, and nothing is given back', async () => {
  const disk = await makeGuestDisk({ size: 48 * MiB });
  const taken = join(dirname(disk.image), 'taken');
  await writeFile(taken, 'mine');
  const before = await allocatedSize(disk.image);
  for (const undo of [taken, disk.image]) {
    await expect(sparsify(disk.image, { undo, force: true }, {})).rejects.toMatchObject({
      code: 'UNSAFE',
      facts: { reason: 'undo-exists' },
    });
  }
  expect(await allocatedSize(disk.image)).toBe(before);
  expect((await stat(taken)).size).toBe(4);
});

it('a run that is refused or stopped before it gives anything back leaves no undo file', async () => {
  const disk = await makeGuestDisk({ size: 48 * MiB });
  const undo = join(dirname(disk.image), 'guest.undo');
  const stop = new AbortController();
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase.startsWith('hashing')) stop.abort();
  };
  await expect(sparsify(disk.image, { undo }, { signal: stop.signal, onProgress })).rejects.toMatchObject({
    code: 'CANCELLED',
  });
  await expect(stat(undo)).rejects.toMatchObject({ code: 'ENOENT' });
});

it('what is no undo file, is empty or of another version says so', async () => {
  const folder = await temporaryFolder();
  const [image, undo] = [join(folder, 'a.img'), join(folder, 'a.undo')];
  await fillWithGarbage(image, MiB);
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(2 * MiB), Buffer.alloc(4096, 'a')]) {
    await writeFile(undo, bytes);
    await expect(restore(undo, image, {}, {})).rejects.toMatchObject({ facts: { reason: 'no-undo-file' } });
  }
  await rm(undo);
  await expect(restore(undo, image, {}, {})).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await writeFile(undo, Buffer.alloc(4096, 'disktool undo\0\0\0\u0002\0\0\0'));
  await expect(restore(undo, image, {}, {})).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});
