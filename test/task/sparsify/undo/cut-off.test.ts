import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { copyFile, open, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { RangeSet } from '../../../../src/binary/range-set.js';
import { sparsify } from '../../../../src/task/sparsify/sparsify.js';
import { restore } from '../../../../src/task/sparsify/undo/restore.js';
import { digestOutside, guestDiskPrograms, makeGuestDisk } from '../../../support/guest-disk.js';
import { needs } from '../../../support/needs.js';
import { attempt, run } from '../../../support/run.js';
import { sharedFolder, temporaryFolder } from '../../../support/temporary.js';

const it = needs({ programs: guestDiskPrograms });
const MiB = 1 << 20;

interface Moment {
  /** The image as it was then. */
  readonly image: string;
  /** Bytes of the undo file then. */
  readonly undoSize: number;
}

/**
 * A guest disk that was sparsified, with a copy of the image at each moment at which something had just been given back.
 * Made once; a test changes copies of it, {@link copied}.
 */
function watched(): ReturnType<typeof watch> {
  watching ??= watch();
  return watching;
}

let watching: ReturnType<typeof watch> | undefined;

async function watch() {
  const folder = await sharedFolder();
  const disk = await makeGuestDisk({ in: folder });
  const [original, undo] = [join(folder, 'original.img'), join(folder, 'guest.undo')];
  const copy = (from: string, to: string) => spawnSync('cp', ['--sparse=always', from, to]);
  await run('cp', ['--sparse=never', disk.image, original]);
  copy(original, join(folder, 'before.img'));
  const moments: Moment[] = [{ image: join(folder, 'before.img'), undoSize: 0 }];
  const onProgress = ({ phase }: { phase: string }) => {
    if (!phase.startsWith('giving back')) return;
    const image = join(folder, `moment-${moments.length}.img`);
    copy(disk.image, image);
    moments.push({ image, undoSize: statSync(undo).size });
  };
  await sparsify(disk.image, { undo, scan: false }, { onProgress });
  return { disk, original, undo, moments };
}

async function copied(path: string, copy: string): Promise<string> {
  await run('cp', ['--sparse=always', path, copy]);
  return copy;
}

/** The undo file as a kill would have left it. */
async function cutAt(undo: string, size: number, folder: string): Promise<string> {
  const cut = join(folder, 'undo');
  await copyFile(undo, cut);
  await truncate(cut, size);
  return cut;
}

/** Turns a byte of a file into another one, and back. */
async function invert(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 0xff;
  await file.write(byte, 0, 1, at);
  await file.close();
}

it('whatever had been given back when the work was cut off comes back', async () => {
  const { original, undo, moments } = await watched();
  const folder = await temporaryFolder();
  expect(new Set(moments.map(({ undoSize }) => undoSize)).size).toBeGreaterThanOrEqual(3);
  for (const { image, undoSize } of moments.slice(1)) {
    const again = await copied(image, join(folder, 'image'));
    const report = await restore(await cutAt(undo, undoSize, folder), again, {}, {});
    expect(report.complete).toBe(false);
    await run('cmp', [again, original]);
  }
});

it('a last record that is not whole is of what was not given back, wherever it was torn', async () => {
  const { original, undo, moments } = await watched();
  const folder = await temporaryFolder();
  // The last moment before each batch: what the batch was to keep is still there.
  const ends = moments.filter(({ undoSize }, i) => moments[i + 1]?.undoSize !== undoSize);
  const sizes = [...ends.map(({ undoSize }) => undoSize), (await stat(undo)).size];
  for (const [i, { image, undoSize }] of ends.entries()) {
    const next = sizes[i + 1] ?? 0;
    if (undoSize === 0) continue;
    // A restore that comes after another finds all in its place: the image is copied for each.
    for (const cut of [1, 128, 511, Math.floor((next - undoSize) / 2), next - undoSize - 1]) {
      if (undoSize + cut >= next) continue;
      const again = await copied(image, join(folder, 'image'));
      const { complete } = await restore(await cutAt(undo, undoSize + cut, folder), again, {}, {});
      // Of the record of the end, what follows its first bytes says nothing.
      expect(complete).toBe(i === ends.length - 1 && cut >= 128);
      await run('cmp', [again, original]);
    }
  }
});

it('a file that was cut off before its first part is whole puts nothing back, and says so or is no undo file', async () => {
  const { disk, undo, moments } = await watched();
  const folder = await temporaryFolder();
  const [before, first] = moments;
  const untouched = before?.image ?? '';
  const digest = await digestOutside(untouched, RangeSet.empty);
  const log = MiB + (await stat(disk.image)).size;
  for (const size of [0, 100, 511, 512, MiB, log, log + 64, log + 700, (first?.undoSize ?? 0) + 1, log + 1024]) {
    const cut = await cutAt(undo, size, folder);
    const outcome = await restore(cut, untouched, {}, {}).catch((error: unknown) => error);
    if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'CORRUPT' });
    else expect(outcome).toMatchObject({ restored: 0n, complete: false });
    expect(await digestOutside(untouched, RangeSet.empty)).toBe(digest);
  }
});

it('a record that is damaged, with whole ones behind it, is no cut: nothing is put back', async () => {
  const made = await watched();
  const folder = await temporaryFolder();
  const image = await copied(made.disk.image, join(folder, 'image'));
  const undo = await copied(made.undo, join(folder, 'undo'));
  const log = MiB + (await stat(image)).size;
  const before = await digestOutside(image, RangeSet.empty);
  const bytes = (await readFile(undo)).subarray(log);
  const records: number[] = [];
  for (let at = 0; at < bytes.length; at += 512)
    if (bytes.toString('latin1', at, at + 8) === 'undo-rec') records.push(at);
  expect(records.length).toBeGreaterThanOrEqual(5);
  for (const record of records.slice(0, -1)) {
    await invert(undo, log + record + 140);
    await expect(restore(undo, image, {}, {})).rejects.toMatchObject({ code: 'CORRUPT' });
    await invert(undo, log + record + 140);
  }
  expect(await digestOutside(image, RangeSet.empty)).toBe(before);
  expect(await restore(undo, image, {}, {})).toMatchObject({ complete: true });
});

it('a piece that is damaged is told before anything is put back', async () => {
  const made = await watched();
  const folder = await temporaryFolder();
  const image = await copied(made.disk.image, join(folder, 'image'));
  const undo = await copied(made.undo, join(folder, 'undo'));
  const before = await digestOutside(image, RangeSet.empty);
  const { stdout } = await attempt('cmp', [image, made.original]);
  await invert(undo, MiB + Number(/byte (\d+)/.exec(stdout)?.[1]) - 1);
  await expect(restore(undo, image, {}, {})).rejects.toMatchObject({
    code: 'CORRUPT',
    message: expect.stringContaining('undo piece at byte'),
  });
  expect(await digestOutside(image, RangeSet.empty)).toBe(before);
});
