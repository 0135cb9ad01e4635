import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { RangeSet } from '../../src/binary/range-set.js';
import { readFreeSpace } from '../../src/filesystem/ext/free-space.js';
import { readSuperblock } from '../../src/filesystem/ext/superblock.js';
import { findFilesystem } from '../../src/guest/find-filesystem.js';
import { openGuest } from '../../src/guest/guest.js';
import { dumpe2fs } from './ext-image.js';
import { replayedByDebugfs } from './ext-journal.js';
import { openRaw } from './raw-device.js';
import { attempt, run } from './run.js';
import { mountLoop, temporaryFolder } from './temporary.js';

/** An image as a crash leaves it: copied while it was mounted, with bitmaps on the disk that are older than its journal. */
export interface DirtyImage {
  readonly path: string;
  /** Files that were on the disk for sure, by their name, with the digest of their content. */
  readonly synced: Readonly<Record<string, string>>;
  /** The inode of a file that was deleted and still open. */
  readonly orphan: number;
}

export interface DirtyRecipe {
  readonly mke2fs: string;
  readonly size?: string;
  /** Options of mount. */
  readonly mount?: readonly string[];
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const content = (name: string, size: number) => Buffer.alloc(size, `${name} of a guest, `);

/** Makes files, deletes some, and copies the image of a filesystem that is still mounted. */
export async function dirtyImage({ mke2fs, size = '48M', mount = [] }: DirtyRecipe): Promise<DirtyImage> {
  const folder = await temporaryFolder();
  const [image, path] = [join(folder, 'live.img'), join(folder, 'dirty.img')];
  await run('mke2fs', ['-Fq', ...mke2fs.split(' '), image, size]);
  // What lies on the disk when the journal begins is older than all that follows.
  const before = await mountLoop(image);
  for (let i = 0; i < 30; i++) {
    await writeFile(join(before.mountPoint, `old-${i}`), content(`old-${i}`, 1000 + i * 20_000));
  }
  await before.unmount();
  const { mountPoint, unmount } = await mountLoop(image, ['commit=600', ...mount]);
  const synced: Record<string, string> = {};
  for (let round = 0; round < 4; round++) await work(mountPoint, round);
  const open = openSync(join(mountPoint, 'orphan'), 'w+');
  await writeFile(join(mountPoint, 'orphan'), content('orphan', 700_000));
  const { ino: orphan } = await stat(join(mountPoint, 'orphan'));
  await commit(mountPoint);
  await rm(join(mountPoint, 'orphan'));
  await commit(mountPoint);
  for (const name of await filesIn(mountPoint)) {
    synced[name.slice(mountPoint.length + 1)] = digest(await readFile(name));
  }
  // Somebody else's sync, or a machine that is short of memory, may bring what the journal holds to where it belongs:
  // what is true of free space is true then as well, but there is little to replay: it is tried again.
  for (let i = 0; i === 0 || (i < 7 && !(await isStale(path))); i++) {
    await rm(join(mountPoint, `old-${29 - i}`));
    delete synced[`old-${29 - i}`];
    await writeFile(join(mountPoint, `last-${i}`), content(`last-${i}`, 300_000));
    await commit(mountPoint);
    // Not on the disk, or only in part.
    for (let j = 0; j < 20; j++) await writeFile(join(mountPoint, `lost-${i}-${j}`), content('lost', 30_000));
    await copyFile(image, path);
  }
  closeSync(open);
  await unmount();
  return { path, synced, orphan };
}

/** Files and folders come and go: blocks of folders become blocks of files, so that they are revoked. */
async function work(mountPoint: string, round: number): Promise<void> {
  const home = join(mountPoint, `round-${round}`);
  await mkdir(home);
  for (let i = 0; i < 60; i++) await writeFile(join(home, `${'long name '.repeat(8)}${i}`), content(`${i}`, i * 90));
  await commit(mountPoint);
  await rm(join(mountPoint, `old-${round * 7}`));
  await truncate(join(mountPoint, `old-${round * 7 + 1}`), 500);
  if (round > 0) await rm(join(mountPoint, `round-${round - 1}`), { recursive: true });
  await commit(mountPoint);
  for (let i = 0; i < 10; i++) await writeFile(join(mountPoint, `new-${round}-${i}`), content(`new-${i}`, 200_000));
  await commit(mountPoint);
  await rm(join(mountPoint, `new-${round}-3`));
  await commit(mountPoint);
}

/** Whether the block bitmaps of an image say both less and more than they will when its journal is replayed. */
async function isStale(path: string): Promise<boolean> {
  const { free } = await dumpe2fs(await replayedByDebugfs(path));
  const stale = await staleFreeSpace(path);
  return stale.subtract(free).total > 0n && free.subtract(stale).total > 0n;
}

/** What the bitmaps on the disk call free, whatever the journal holds. */
async function staleFreeSpace(path: string): Promise<RangeSet> {
  await using device = await openRaw(path);
  return await readFreeSpace(device, await readSuperblock(device), { verify: false });
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** Brings data and journal to the disk, and leaves the blocks that the journal holds where they were: unlike syncfs. */
async function commit(mountPoint: string): Promise<void> {
  await run('sync', [mountPoint, ...(await filesIn(mountPoint))]);
}

/** Has the kernel replay the journal of an image, which is clean afterwards, and reads its files. */
export async function mountedContents(path: string): Promise<Record<string, string>> {
  const { mountPoint, unmount } = await mountLoop(path);
  const contents: Record<string, string> = {};
  for (const name of await filesIn(mountPoint)) {
    contents[name.slice(mountPoint.length + 1)] = digest(await readFile(name));
  }
  await unmount();
  return contents;
}

/** The same, as we read them, with the journal replayed in memory. */
export async function ourContents(path: string): Promise<Record<string, string>> {
  await using device = await openRaw(path);
  const { filesystem, doubts } = findFilesystem(await openGuest(device), '/dev/sda');
  expect(doubts).toEqual([expect.stringContaining('journal is replayed in memory')]);
  const contents: Record<string, string> = {};
  for await (const { path: name, file } of filesystem.walk()) {
    if (file.type !== 'file') continue;
    const content = await file.content();
    const bytes = new Uint8Array(Number(content.facts.size));
    await content.read(bytes, 0n);
    contents[name.toString().slice(1)] = digest(bytes);
  }
  return contents;
}

/** What e2fsck finds when it changes nothing. */
export async function findings(path: string): Promise<string> {
  const { status, stdout } = await attempt('e2fsck', ['-fn', path], { env: { LC_ALL: 'C' } });
  return `${status}\n${stdout}`;
}
