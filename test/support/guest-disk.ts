import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RangeSet } from '../../src/binary/range-set.js';
import { run } from './run.js';
import { sharedFolder, temporaryFolder } from './temporary.js';

const MiB = 1 << 20;

export interface GuestDisk {
  readonly image: string;
  /** `IMAGE?offset=N`, as the programs of e2fsprogs take it. */
  readonly root: string;
  /** Bytes from the start of the disk. */
  readonly rootOffset: number;
  readonly rootSize: number;
  readonly swapOffset: number;
}

/** What {@link makeGuestDisk} needs. */
export const guestDiskPrograms = ['sfdisk', 'mke2fs', 'debugfs', 'mkswap', 'e2fsck', 'dumpe2fs'] as const;

/** Made once a file of tests, each of which gets a copy of its own: mke2fs takes longer than cp. */
const originals = new Map<string, Promise<GuestDisk>>();

/**
 * A GPT disk as it looks after some use: ext4 on /dev/sda1 with files kept and files deleted, swap on /dev/sda2, every
 * block written once. Every disk of one guest is the same, byte for byte.
 */
export async function makeGuestDisk({
  features = '',
  size = 96 * MiB,
  in: folder = '',
  guest = 'one',
} = {}): Promise<GuestDisk> {
  const key = `${features} ${size} ${guest}`;
  const making = originals.get(key) ?? makeOriginal(features, size);
  originals.set(key, making);
  const original = await making;
  const image = join(folder === '' ? await temporaryFolder() : folder, 'guest.img');
  await run('cp', [original.image, image]);
  return { ...original, image, root: `${image}?offset=${original.rootOffset}` };
}

async function makeOriginal(features: string, size: number): Promise<GuestDisk> {
  const home = await sharedFolder();
  const image = join(home, 'guest.img');
  const swapSize = 8 * MiB;
  const rootOffset = MiB;
  const rootSize = size - swapSize - 2 * MiB;
  const swapOffset = rootOffset + rootSize;

  await fillWithGarbage(image, size);
  const table = `label: gpt\nstart=1MiB, size=${rootSize / MiB}MiB, type=linux\nstart=${swapOffset / MiB}MiB, size=8MiB, type=swap\n`;
  await run('sfdisk', ['--quiet', '--wipe', 'always', image], { stdin: 'pipe', input: table });

  const tree = join(home, 'tree');
  await mkdir(join(tree, 'deleted'), { recursive: true });
  for (let i = 0; i < 40; i++) await writeFile(join(tree, `kept-${i}`), randomBytes(1000 * (i + 1)));
  await writeFile(join(tree, 'zeros'), randomBytes(3 * MiB));
  for (let i = 0; i < 20; i++) await writeFile(join(tree, 'deleted', `file-${i}`), randomBytes(MiB));
  const options = [
    '-q',
    '-F',
    '-t',
    'ext4',
    '-b',
    '4096',
    '-g',
    '8192',
    ...(features === '' ? [] : ['-O', features]),
    '-d',
    tree,
  ];
  await run('mke2fs', [
    ...options,
    '-E',
    `offset=${rootOffset},nodiscard,lazy_itable_init=0`,
    image,
    `${rootSize / 1024}k`,
  ]);
  await rm(tree, { recursive: true });
  const root = `${image}?offset=${rootOffset}`;
  const removals = Array.from({ length: 20 }, (_, i) => `rm /deleted/file-${i}\n`).join('');
  const script = join(home, 'removals');
  await writeFile(script, removals);
  await run('debugfs', ['-w', '-f', script, root]);
  await writeZerosInto('/zeros', image, root, rootOffset);
  await writeSwapHeader(image, swapOffset, swapSize, home);
  return { image, root, rootOffset, rootSize, swapOffset };
}

/** Zeros in use: they become holes, and still read as zeros. mke2fs itself would make holes of them. */
async function writeZerosInto(file: string, image: string, root: string, rootOffset: number): Promise<void> {
  const blocks = (await run('debugfs', ['-R', `blocks ${file}`, root])).trim().split(/\s+/);
  const handle = await open(image, 'r+');
  try {
    for (const block of blocks) await handle.write(Buffer.alloc(4096), 0, 4096, rootOffset + Number(block) * 4096);
  } finally {
    await handle.close();
  }
}

/** mkswap before util-linux 2.40 has no --offset: it writes to a file of its own, whose header is put in place. */
async function writeSwapHeader(image: string, offset: number, size: number, folder: string): Promise<void> {
  const swap = join(folder, 'swap');
  await writeFile(swap, Buffer.alloc(size), { mode: 0o600 });
  await run('mkswap', ['-q', swap]);
  await run('dd', [
    `if=${swap}`,
    `of=${image}`,
    'bs=4096',
    'count=1',
    `seek=${offset / 4096}`,
    'conv=notrunc',
    'status=none',
  ]);
  await rm(swap);
}

/** Random bytes in every block of a file, so that all of it takes room. */
export async function fillWithGarbage(path: string, size: number): Promise<void> {
  const garbage = randomBytes(4 * MiB);
  const file = await open(path, 'w');
  try {
    for (let at = 0; at < size; at += garbage.length) {
      await file.write(garbage, 0, Math.min(garbage.length, size - at), at);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** sha256 of every file of an ext filesystem, read by debugfs; by path. */
export async function filesOf(disk: Pick<GuestDisk, 'root'>, folder: string): Promise<Record<string, string>> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await run('debugfs', ['-R', `rdump / ${folder}`, disk.root]);
  const listing = await run('sh', ['-c', 'cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2', 'sh', folder]);
  await rm(folder, { recursive: true, force: true });
  return Object.fromEntries(listing.split('\n').map((line) => [line.slice(66), line.slice(0, 64)]));
}

/** sha256 of everything in a file that is not in `free`. */
export async function digestOutside(path: string, free: RangeSet): Promise<string> {
  const { size } = await stat(path, { bigint: true });
  const hash = createHash('sha256');
  for (const { offset, length } of free.complement(0n, size)) {
    const end = Number(offset + length) - 1;
    for await (const chunk of createReadStream(path, { start: Number(offset), end })) hash.update(chunk);
  }
  return hash.digest('hex');
}

/** Bytes that the host has set aside for a file. */
export async function allocatedSize(path: string): Promise<number> {
  return (await stat(path)).blocks * 512;
}

/** The backup superblocks of an ext filesystem, as dumpe2fs lists them, and its block size. */
export async function backupSuperblocks({
  root,
}: Pick<GuestDisk, 'root'>): Promise<{ blocks: string[]; blockSize: string }> {
  const dump = await run('dumpe2fs', [root]);
  const blocks = [...dump.matchAll(/Backup superblock at (\d+)/g)].map(([, block = '']) => block);
  return { blocks, blockSize: /^Block size:\s+(\d+)/m.exec(dump)?.[1] ?? '' };
}
