import { mkdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Range, RangeSet } from '../../src/binary/range-set.js';
import { populate } from './populate.js';
import { attempt, run } from './run.js';
import { mountLoop, temporaryFolder } from './temporary.js';

/** How to make an image; {@link xfsVariants} lists many. */
export interface XfsRecipe {
  readonly mkfs: string;
  /** As truncate takes it. */
  readonly size?: string;
  /** What is done besides while it is mounted. */
  readonly also?: 'reflink' | 'grow' | 'fragment' | 'little';
}

/** Shapes that this kernel mounts. */
export const xfsVariants: Readonly<Record<string, XfsRecipe>> = {
  'as mkfs.xfs makes it': { mkfs: '' },
  'blocks of 1 KiB': { mkfs: '-b size=1024' },
  'blocks of 2 KiB, directories of 8 KiB': { mkfs: '-b size=2048 -n size=8192' },
  'directories of 64 KiB': { mkfs: '-n size=65536' },
  'sectors of 4 KiB': { mkfs: '-s size=4096' },
  'inodes of 2 KiB': { mkfs: '-i size=2048' },
  'no sparse inodes': { mkfs: '-i sparse=0' },
  'no free inode tree': { mkfs: '-m finobt=0,reflink=0,inobtcount=0' },
  'no times past 2038': { mkfs: '-m bigtime=0' },
  'reverse map': { mkfs: '-m rmapbt=1' },
  'many extents': { mkfs: '-i nrext64=1', also: 'fragment', size: '350M' },
  'shared extents': { mkfs: '-m rmapbt=1,reflink=1', also: 'reflink' },
  'sixteen groups': { mkfs: '-d agcount=16', size: '300M' },
  'a short last group': { mkfs: '-d agsize=40m', size: '100M' },
  grown: { mkfs: '', also: 'grow' },
  'a log in the last group': { mkfs: '-l agnum=3' },
  'a log with a stripe unit': { mkfs: '-l su=64k' },
  'an alignment of data': { mkfs: '-d su=64k,sw=2', size: '200M' },
};

/** Those that `npm test` runs. */
export const quickXfsVariants: readonly string[] = ['blocks of 1 KiB', 'shared extents'];

/** Shapes that this kernel does not mount: mkfs.xfs fills them itself. */
export const unmountableXfs: Readonly<Record<string, XfsRecipe>> = {
  'version 4': { mkfs: '-m crc=0' },
  'version 4, blocks of 512 bytes': { mkfs: '-m crc=0 -b size=512' },
  'version 4, no types in directories': { mkfs: '-m crc=0 -n ftype=0' },
  'version 4, a log of version 1': { mkfs: '-m crc=0 -l version=1' },
  'version 4, old attributes': { mkfs: '-m crc=0 -i attr=1,projid32bit=0 -l lazy-count=0' },
  'names without case': { mkfs: '-n version=ci' },
  'blocks of 16 KiB': { mkfs: '-b size=16384' },
  'blocks of 64 KiB': { mkfs: '-b size=65536', size: '300M' },
};

/** What lets mkfs.xfs make filesystems that are smaller than it thinks sensible. */
const small = { TEST_DIR: '/', TEST_DEV: '/', QA_CHECK_FS: '1' };

async function mkfs(path: string, { mkfs: options, size = '96M' }: XfsRecipe, ...more: string[]): Promise<void> {
  await writeFile(path, '');
  await run('truncate', ['-s', size, path]);
  const args = options.split(' ').filter((arg) => arg !== '');
  await run('mkfs.xfs', ['-q', ...args, ...more, path], {
    env: small,
  });
}

/** An image by mkfs.xfs that the kernel has filled, and unmounted. */
export async function xfsImage(recipe: XfsRecipe): Promise<string> {
  const path = join(await temporaryFolder(), 'xfs.img');
  await mkfs(path, recipe);
  if (recipe.also === 'grow') await truncate(path, 300 << 20);
  const { mountPoint, unmount } = await mountLoop(path);
  const [entries, pieces] =
    recipe.also === 'fragment' ? [4000, 1500] : recipe.also === 'little' ? [60, 30] : [600, 150];
  await populate(mountPoint, { entries, pieces, reach: 2 ** 31 + 2 ** 20 });
  const at = (name: string) => join(mountPoint, name);
  switch (recipe.also) {
    case 'grow':
      await run('xfs_growfs', [mountPoint]);
      break;
    case 'reflink':
      await run('cp', ['--reflink=always', at('every-other-block'), at('clone')]);
      await run('cp', ['--reflink=always', at('sizes/1000003'), at('other-clone')]);
      await run('dd', ['if=/dev/zero', `of=${at('other-clone')}`, 'bs=4k', 'seek=3', 'count=2', 'conv=notrunc']);
      break;
    case 'fragment':
      await run('fallocate', ['-l', '40M', at('holes')]);
      // A process a hole would take its time.
      await run('python3', ['-c', punch, at('holes')]);
      break;
  }
  await unmount();
  return path;
}

/** Makes a hole of every other 4 KiB: fallocate(2), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE. */
const punch = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(sys.argv[1], os.O_RDWR)
for at in range(0, 40 << 20, 8192):
    assert libc.fallocate(fd, 3, ctypes.c_long(at), ctypes.c_long(4096)) == 0
`;

/** An image that mkfs.xfs has filled by itself from a list of files; they are in `folder`. */
export async function protoXfsImage(recipe: XfsRecipe, count = 300): Promise<{ path: string; folder: string }> {
  const base = await temporaryFolder();
  const [folder, path, list] = [join(base, 'files'), join(base, 'xfs.img'), join(base, 'proto')];
  await mkdir(join(folder, 'sub'), { recursive: true });
  const lines = ['/boot', '0 0', 'd--755 0 0'];
  for (const size of [1, 200, 5000, 70_000, 900_000]) {
    await writeFile(join(folder, `${size}`), Buffer.alloc(size, `${size} bytes, `));
    lines.push(`${size} ---644 1000 100 ${join(folder, `${size}`)}`);
  }
  lines.push('sub d--750 0 0');
  for (let i = 0; i < count; i++) {
    await writeFile(join(folder, 'sub', `file-${i}`), `${i}`);
    lines.push(`file-${i} ---600 0 0 ${join(folder, 'sub', `file-${i}`)}`);
  }
  lines.push('$', 'few d--755 0 0', `only ---600 0 0 ${join(folder, '1')}`, '$');
  // Of version 5, mkfs.xfs 6.1 writes long ones without their header.
  const long = recipe.mkfs.includes('crc=0') ? [`long l--777 0 0 ${'far/'.repeat(200)}`] : [];
  lines.push('short l--777 0 0 sub/file-1', ...long, 'null c--666 0 0 1 3', '$');
  await writeFile(list, `${lines.join('\n')}\n`);
  await mkfs(path, recipe, '-p', list);
  await rm(list);
  return { path, folder };
}

/** What xfs_db lists as free, without the blocks of the free lists, which it counts as well. */
export async function xfsDbFree(path: string): Promise<RangeSet> {
  const db = async (...commands: string[]) =>
    await run('xfs_db', ['-r', ...commands.flatMap((command) => ['-c', command]), path], { maxBuffer: 512 << 20 });
  const number = async (name: string) => Number(/= (\d+)/.exec(await db('sb 0', `p ${name}`))?.[1]);
  const [blockSize, groupSize, groups] = [await number('blocksize'), await number('agblocks'), await number('agcount')];
  const range = (group: number, block: number, count: number): Range => ({
    offset: BigInt(group * groupSize + block) * BigInt(blockSize),
    length: BigInt(count) * BigInt(blockSize),
  });
  const listed = (await db('freesp -d')).matchAll(/^ *(\d+) +(\d+) +(\d+) *$/gm);
  const free = RangeSet.of(
    [...listed].map(([, group, block, count]) => range(Number(group), Number(block), Number(count))),
  );
  const kept: Range[] = [];
  for (let group = 0; group < groups; group++) {
    const text = await db(`agf ${group}`, 'p flfirst fllast flcount', `agfl ${group}`, 'p bno');
    const field = (name: string) => Number(new RegExp(`^${name} = (\\d+)`, 'm').exec(text)?.[1]);
    const list = [...(/^bno\[.*/m.exec(text)?.[0] ?? '').matchAll(/(\d+):(\d+|null)/g)].map(([, , block]) =>
      Number(block),
    );
    for (let i = 0; i < field('flcount'); i++) {
      kept.push(range(group, list[(field('flfirst') + i) % list.length] ?? 0, 1));
    }
  }
  return free.subtract(RangeSet.of(kept));
}

/** What xfs_repair has to say, and how it ends: in no order, since it works on several groups at once. */
export async function xfsRepair(path: string): Promise<string> {
  const { status, stdout, stderr } = await attempt('xfs_repair', ['-n', path]);
  const lines = `${stdout}\n${stderr}`
    .replaceAll(/0x[0-9a-f]{9,}|\d\d:\d\d:\d\d/g, '…')
    .split('\n')
    .sort();
  return `${status}\n${lines.join('\n')}`;
}

/** A new filesystem with nothing in it. */
export async function emptyXfs(options: string, size: string): Promise<string> {
  const path = join(await temporaryFolder(), 'xfs.img');
  await mkfs(path, { mkfs: options, size });
  return path;
}
