import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rawCrc32c } from '../../src/binary/crc.js';
import { viewOf } from '../../src/binary/layout.js';
import { type Range, RangeSet } from '../../src/binary/range-set.js';
import { extSuperblock, superblockOffset } from '../../src/filesystem/ext/on-disk.js';
import { change, patch } from './partition-image.js';
import { attempt, run } from './run.js';
import { temporaryFolder } from './temporary.js';

const mebibyte = 1024 * 1024;

export interface ExtImage {
  readonly path: string;
  /** The files that it still holds, from its root: their names and contents. */
  readonly contents: Readonly<Record<string, string>>;
}

/** How to make an image; {@link extVariants} lists many. */
export interface ExtRecipe {
  readonly mke2fs: string;
  /** As mke2fs takes it; 40M if not said. */
  readonly size?: string;
  /** Nothing is deleted again. */
  readonly keep?: boolean;
  /** e2fsck finds something wrong from the start. */
  readonly unclean?: boolean;
}

/** Files of many sizes, some of them sparse; the same bytes each time. */
async function fillFolder(folder: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const directory = join(folder, `d${i % 7}`);
    await mkdir(directory, { recursive: true });
    const path = join(directory, `file-${i}`);
    const size = [0, 37, 1024, 5000, 70_000, 12_345, 300_000][i % 7] ?? 0;
    await writeFile(path, Buffer.alloc(size + (i % 5), `${i} of many, `));
    if (i % 11 === 0) await truncate(path, size + 100_000);
  }
}

/**
 * An image by mke2fs with files in it, of which debugfs deletes every third again: its free space is in pieces.
 */
export async function extImage({ mke2fs, size = '40M', keep = false }: ExtRecipe, files = 150): Promise<ExtImage> {
  const folder = await temporaryFolder();
  const [root, path] = [join(folder, 'root'), join(folder, 'ext.img')];
  await mkdir(root);
  await fillFolder(root, files);
  await run('mke2fs', ['-Fq', ...mke2fs.split(' ').filter((arg) => arg !== ''), '-d', root, path, size]);
  const contents = await digests(root);
  const gone = Object.keys(contents).filter((_, i) => !keep && i % 3 === 1);
  if (gone.length > 0) await debugfs(path, ...gone.map((name) => `rm /${name}`));
  return { path, contents: Object.fromEntries(Object.entries(contents).filter(([name]) => !gone.includes(name))) };
}

/** Runs commands of debugfs that write, one after another. */
export async function debugfs(path: string, ...commands: string[]): Promise<void> {
  const script = `${path}.debugfs`;
  await writeFile(script, `${commands.join('\n')}\n`);
  await run('debugfs', ['-w', '-f', script, path], { env: { LC_ALL: 'C' } });
}

async function digests(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()) {
    found[name] = createHash('sha256')
      .update(await readFile(join(folder, name)))
      .digest('hex');
  }
  return found;
}

/** Every file of an image, read by debugfs. */
export async function contentsOf(path: string): Promise<Record<string, string>> {
  const out = await temporaryFolder();
  await run('debugfs', ['-R', `rdump / ${out}`, path]);
  return await digests(out);
}

/** What dumpe2fs says of an image. */
export interface Dump {
  /** Of its header, in blocks. */
  readonly blockCount: number;
  readonly freeCount: number;
  /** Bytes. */
  readonly blockSize: number;
  /** What it lists as free, group by group. */
  readonly free: RangeSet;
  /** The blocks of all superblocks but the first. */
  readonly backups: readonly number[];
  /** Groups whose block bitmap was never written. */
  readonly uninitialised: number;
}

export async function dumpe2fs(path: string): Promise<Dump> {
  const text = await run('dumpe2fs', [path], { env: { LC_ALL: 'C' }, maxBuffer: 512 * mebibyte });
  const header = (name: string) => Number(new RegExp(`^${name}: +(\\d+)$`, 'm').exec(text)?.[1]);
  const blockSize = header('Block size');
  const blockCount = header('Block count');
  // With bigalloc it names the first block of the last free cluster.
  const cluster = Number(/^Cluster size: +(\d+)$/m.exec(text)?.[1] ?? blockSize) / blockSize;
  const lists = [...text.matchAll(/^ {2}Free blocks: (.*)$/gm)].map(([, list = '']) => list);
  const ranges = lists.flatMap((list) => list.split(', ').filter((range) => range !== ''));
  return {
    blockCount,
    freeCount: header('Free blocks'),
    blockSize,
    free: RangeSet.of(
      ranges.map((range): Range => {
        const [first = 0, last = first] = range.split('-').map(Number);
        const end = Math.min(last + cluster, blockCount);
        return { offset: BigInt(first) * BigInt(blockSize), length: BigInt(end - first) * BigInt(blockSize) };
      }),
    ),
    backups: [...text.matchAll(/Backup superblock at (\d+)/g)].map(([, block]) => Number(block)),
    uninitialised: [...text.matchAll(/^Group .*BLOCK_UNINIT/gm)].length,
  };
}

/** All that e2fsck has to say, by the primary superblock and by each of the others. */
export async function checks(path: string, { backups, blockSize }: Dump): Promise<string[]> {
  const found: string[] = [];
  for (const backup of [undefined, ...backups]) {
    const which = backup === undefined ? [] : ['-b', `${backup}`, '-B', `${blockSize}`];
    const { status, stdout, stderr } = await attempt('e2fsck', ['-fn', ...which, path], { env: { LC_ALL: 'C' } });
    found.push(`${backup ?? 'primary'}: ${status}\n${stdout}\n${stderr}`);
  }
  return found;
}

/** Overwrites every byte of the ranges. */
export async function poison(path: string, ranges: Iterable<Range>): Promise<void> {
  const file = await open(path, 'r+');
  const junk = Buffer.alloc(mebibyte, 0xa5);
  for (const { offset, length } of ranges) {
    for (let done = 0; done < length; done += junk.length) {
      const piece = Math.min(junk.length, Number(length) - done);
      await file.write(junk, 0, piece, Number(offset) + done);
    }
  }
  await file.close();
}

/** Changes fields of the primary superblock and makes its checksum right again. */
export async function patchSuperblock(path: string, values: Parameters<typeof extSuperblock.put>[1]): Promise<void> {
  await patch(path, Number(superblockOffset), extSuperblock, values);
  await sealSuperblock(path);
}

export function sealSuperblock(path: string): Promise<void> {
  return change(path, Number(superblockOffset), extSuperblock.size, (bytes) => {
    const covered = bytes.subarray(0, extSuperblock.fields.s_checksum.offset);
    extSuperblock.put(viewOf(bytes), { s_checksum: rawCrc32c(0xffff_ffff, covered) });
  });
}
