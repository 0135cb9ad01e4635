import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './run.js';
import { temporaryFolder } from './temporary.js';

const MiB = 1 << 20;

/** What {@link ownedDisk} needs. */
export const ownedDiskPrograms = ['sfdisk', 'mke2fs', 'debugfs'] as const;

export interface OwnedDisk {
  readonly image: string;
  readonly folder: string;
  /** `IMAGE?offset=N`, as the programs of e2fsprogs take it. */
  readonly root: string;
  /** Bytes from the start of the disk. */
  readonly rootOffset: number;
  /** Bytes: less than those of its partition. */
  readonly rootSize: number;
  readonly size: number;
}

/**
 * A disk with an MBR whose bytes have owners of all kinds: on /dev/sda1 an ext4 that is smaller than its partition, with
 * hard links, a file in pieces, one of which only the first block of 20 is written, one that ends amid a block, and one within its inode; nothing on /dev/sda2; an
 * extended partition, and in it /dev/sda5 with LUKS.
 */
export async function ownedDisk(): Promise<OwnedDisk> {
  const folder = await temporaryFolder();
  const [image, tree] = [join(folder, 'disk.img'), join(folder, 'tree')];
  const table = [
    'label: dos',
    'start=1MiB, size=20MiB, type=83',
    'start=22MiB, size=4MiB, type=83',
    'start=27MiB, size=20MiB, type=5',
    'start=28MiB, size=8MiB, type=83',
  ];
  const size = 48 * MiB;
  await writeSparse(image, size);
  await run('sfdisk', ['-q', image], { stdin: 'pipe', input: table.join('\n') });
  mkdirSync(join(tree, 'etc'), { recursive: true });
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0\n'.repeat(300));
  linkSync(join(tree, 'etc/passwd'), join(tree, 'again'));
  symlinkSync('etc/passwd', join(tree, 'link'));
  writeFileSync(join(tree, 'small'), 'in its inode');
  for (let i = 0; i < 40; i++) writeFileSync(join(tree, `etc/file ${i}`), `${i}`.repeat(1000 * i));
  const [rootOffset, rootSize] = [MiB, 18 * MiB];
  const options = ['-Fqt', 'ext4', '-b', '1024', '-I', '256', '-L', 'owned', '-O', 'inline_data', '-d', tree];
  await run('mke2fs', [...options, '-E', `offset=${rootOffset},nodiscard`, image, '18M']);
  const root = `${image}?offset=${rootOffset}`;
  const holes = join(folder, 'pieces');
  await writeSparse(holes, 200_000);
  await using pieces = await open(holes, 'r+');
  for (let at = 0; at < 200_000; at += 8192) await pieces.write(Buffer.alloc(1500, `piece ${at}`), 0, 1500, at);
  await pieces.sync();
  const head = join(folder, 'head');
  writeFileSync(head, 'head'.repeat(256));
  await script(
    folder,
    root,
    `write ${holes} pieces`,
    `write ${head} unwritten`,
    'fallocate unwritten 0 19',
    'set_inode_field unwritten size 20480',
  );
  await using disk = await open(image, 'r+');
  await disk.write(Buffer.from('LUKS\xba\xbe\0\x01', 'latin1'), 0, 8, 28 * MiB);
  return { image, folder, root, rootOffset, rootSize, size };
}

async function writeSparse(path: string, size: number): Promise<void> {
  await using file = await open(path, 'w');
  await file.truncate(size);
}

async function script(folder: string, root: string, ...commands: string[]): Promise<void> {
  const path = join(folder, 'script');
  writeFileSync(path, `${commands.join('\n')}\n`);
  await run('debugfs', ['-w', '-f', path, root], { env: { LC_ALL: 'C' } });
}

/** The names of files that debugfs finds at blocks of the filesystem, by block; none for what is free or metadata. */
export async function namesAt(root: string, blocks: readonly number[]): Promise<Map<number, string[]>> {
  const inodes = await pairs('icheck', root, blocks);
  const numbers = [...new Set(inodes.map(([, inode]) => inode))].filter((inode) => /^\d+$/.test(inode));
  const names = await pairs('ncheck', root, numbers);
  return new Map(
    inodes.map(([block, inode]) => [
      Number(block),
      names.filter(([number]) => number === inode).map(([, name]) => name.replace(/^\/\//, '/')),
    ]),
  );
}

async function pairs(command: string, root: string, what: readonly (number | string)[]): Promise<[string, string][]> {
  const text = await run('debugfs', ['-R', `${command} ${what.join(' ')}`, root], { env: { LC_ALL: 'C' } });
  return text
    .split('\n')
    .slice(1)
    .map((line) => {
      const at = line.indexOf('\t');
      return [line.slice(0, at), line.slice(at + 1)];
    });
}
