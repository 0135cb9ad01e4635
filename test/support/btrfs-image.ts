import { randomBytes } from 'node:crypto';
import { mkdir, open, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { viewOf } from '../../src/binary/layout.js';
import { type Range, RangeSet } from '../../src/binary/range-set.js';
import { checksumRoom } from '../../src/filesystem/btrfs/checksum.js';
import type { KernelManner } from './as-kernel.js';
import { sha256 } from './kernel-files.js';
import { populate } from './populate.js';
import { attempt, run } from './run.js';
import { mountLoop, temporaryFolder } from './temporary.js';

/** How to make an image; {@link btrfsVariants} lists many. */
export interface BtrfsRecipe {
  readonly mkfs: string;
  /** As truncate takes it. */
  readonly size?: string;
  /** Of mount. */
  readonly options?: string;
  /** Made of a filesystem of ext4, by btrfs-convert. */
  readonly converted?: boolean;
  /** What is done besides while it is mounted. */
  readonly also?: 'reflink' | 'snapshots' | 'balance' | 'grow' | 'shrink' | 'small files' | 'nodatacow' | 'little';
}

/** Shapes that this kernel mounts. */
export const btrfsVariants: Readonly<Record<string, BtrfsRecipe>> = {
  'as mkfs.btrfs makes it': { mkfs: '' },
  'nodes of 4 KiB': { mkfs: '--nodesize 4096' },
  'nodes of 64 KiB': { mkfs: '--nodesize 65536', size: '160M' },
  'mixed block groups': { mkfs: '--mixed', size: '100M' },
  'everything once': { mkfs: '-m single -d single' },
  'everything twice': { mkfs: '-m dup -d dup', size: '256M' },
  xxhash64: { mkfs: '--csum xxhash', also: 'little' },
  sha256: { mkfs: '--csum sha256', also: 'little' },
  'blake2b, nodes of 4 KiB': { mkfs: '--csum blake2 --nodesize 4096', also: 'little' },
  'holes as extents': { mkfs: '-O ^no-holes' },
  'no free space tree, and the cache of old': { mkfs: '-R ^free-space-tree', options: 'space_cache=v1' },
  'no free space tree, and no cache': { mkfs: '-R ^free-space-tree', options: 'nospace_cache', also: 'little' },
  'shared extents': { mkfs: '', also: 'reflink' },
  'snapshots, some of them deleted': { mkfs: '--nodesize 4096', also: 'snapshots' },
  'compressed by zlib': { mkfs: '', options: 'compress-force=zlib' },
  'compressed by lzo': { mkfs: '', options: 'compress-force=lzo' },
  'compressed by zstd': { mkfs: '', options: 'compress-force=zstd' },
  'without copy on write': { mkfs: '', options: 'nodatacow', also: 'nodatacow' },
  balanced: { mkfs: '', also: 'balance', size: '300M' },
  grown: { mkfs: '', also: 'grow' },
  shrunk: { mkfs: '', also: 'shrink', size: '400M' },
  'many small files': { mkfs: '--nodesize 4096', also: 'small files' },
  'made of ext4': { mkfs: '', converted: true, size: '300M', also: 'little' },
  'references of old': { mkfs: '-O ^skinny-metadata,^extref', also: 'little' },
};

/** Those that `npm test` runs. */
export const quickBtrfsVariants: readonly string[] = ['snapshots, some of them deleted', 'mixed block groups'];

async function mkfs(path: string, recipe: BtrfsRecipe, ...more: string[]): Promise<void> {
  const { mkfs: options, size = '128M', converted = false } = recipe;
  await writeFile(path, '');
  await run('truncate', ['-s', size, path]);
  if (converted) {
    await run('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', path]);
    const { mountPoint, unmount } = await mountLoop(path);
    for (const count of [1, 7, 30]) await writeFile(join(mountPoint, `${count}`), randomBytes(count * 100_000));
    await unmount();
    await run('btrfs-convert', ['--no-progress', path]);
    return;
  }
  const args = options.split(' ').filter((arg) => arg !== '');
  await run('mkfs.btrfs', ['-q', ...args, ...more, path]);
}

/** An image by mkfs.btrfs that the kernel has filled, and unmounted. */
export async function btrfsImage(recipe: BtrfsRecipe): Promise<string> {
  const path = join(await temporaryFolder(), 'btrfs.img');
  await mkfs(path, recipe);
  if (recipe.also === 'grow') await truncate(path, 300 << 20);
  const { mountPoint, unmount } = await mountLoop(path, recipe.options === undefined ? [] : [recipe.options]);
  const at = (name: string) => join(mountPoint, name);
  const [entries, pieces] = recipe.also === 'little' ? [40, 20] : [300, 60];
  await populate(mountPoint, { entries, pieces, reach: 2 ** 27 });
  await ownShapes(at);
  const btrfs = (...args: string[]) => run('btrfs', args);
  switch (recipe.also) {
    case 'grow':
      await btrfs('filesystem', 'resize', 'max', mountPoint);
      await writeFile(at('in the new part'), randomBytes(3 << 20));
      break;
    case 'shrink':
      await btrfs('filesystem', 'resize', '300M', mountPoint);
      break;
    case 'balance':
      await btrfs('balance', 'start', '--full-balance', mountPoint);
      break;
    case 'reflink':
      await run('cp', ['--reflink=always', at('every-other-block'), at('clone')]);
      await run('cp', ['--reflink=always', at('sizes/1000003'), at('other-clone')]);
      await run('dd', ['if=/dev/zero', `of=${at('other-clone')}`, 'bs=4k', 'seek=3', 'count=2', 'conv=notrunc']);
      break;
    case 'snapshots':
      await snapshots(mountPoint);
      break;
    case 'small files':
      await mkdir(at('small'));
      for (let i = 0; i < 1500; i++) await writeFile(at(`small/${i}`), `${i}`.repeat(i % 700));
      break;
  }
  await unmount();
  return path;
}

/** What only btrfs has, or has in a way of its own. */
async function ownShapes(at: (name: string) => string): Promise<void> {
  // As text it shrinks, and takes many extents of 128 KiB when it is compressed.
  await writeFile(at('text'), Array.from({ length: 60_000 }, (_, i) => `line ${i} of this text\n`).join(''));
  await writeFile(at('short text'), 'short '.repeat(200));
  await run('dd', ['if=/dev/urandom', `of=${at('text')}`, 'bs=1k', 'seek=300', 'count=9', 'conv=notrunc']);
  await run('fallocate', ['--punch-hole', '--offset', '500000', '--length', '100000', at('text')]);
}

async function snapshots(mountPoint: string): Promise<void> {
  const at = (name: string) => join(mountPoint, name);
  const btrfs = (...args: string[]) => run('btrfs', args);
  await btrfs('subvolume', 'create', at('sub'));
  await writeFile(at('sub/file'), randomBytes(100_000));
  await btrfs('subvolume', 'create', at('sub/nested'));
  await writeFile(at('sub/nested/deep'), 'deep');
  await btrfs('subvolume', 'snapshot', mountPoint, at('of all'));
  await btrfs('subvolume', 'snapshot', '-r', at('sub'), at('read only'));
  for (const name of ['text', 'sizes/1000003']) await rm(at(name));
  await rm(at('many'), { recursive: true });
  await writeFile(at('of all/text'), 'written anew');
  await btrfs('subvolume', 'snapshot', at('of all'), at('gone'));
  await writeFile(at('gone/more'), randomBytes(300_000));
  await btrfs('subvolume', 'delete', '--commit-after', at('gone'));
  await btrfs('subvolume', 'sync', mountPoint);
}

/** A small image with one of each shape in it, in blocks that are there once. */
export async function tinyBtrfs(options: string): Promise<string> {
  const path = join(await temporaryFolder(), 'btrfs.img');
  await mkfs(path, { mkfs: '--mixed -m single -d single --nodesize 4096', size: '24M' });
  const { mountPoint, unmount } = await mountLoop(path, [options]);
  const at = (name: string) => join(mountPoint, name);
  await run('btrfs', ['subvolume', 'create', at('sub')]);
  await mkdir(at('sub/folder'));
  for (let i = 0; i < 30; i++) await writeFile(at(`sub/folder/${i}`), `${i}`.repeat(i * 20));
  await ownShapes(at);
  await run('fallocate', ['-l', '100000', at('set aside')]);
  await symlink('sub/folder', at('link'));
  await run('setfattr', ['-n', 'user.note', '-v', 'a note', at('text')]);
  await run('btrfs', ['subvolume', 'snapshot', at('sub'), at('snapshot')]);
  await rm(at('sub/folder/3'));
  await unmount();
  return path;
}

/** A new filesystem, with nothing in it but what is in a folder. */
export async function emptyBtrfs(options: string, size: string, folder?: string): Promise<string> {
  const path = join(await temporaryFolder(), 'btrfs.img');
  await mkfs(path, { mkfs: options, size }, ...(folder === undefined ? [] : ['--rootdir', folder]));
  return path;
}

const freeScript = new URL('btrfs-free.py', import.meta.url).pathname;

/** What is free by `btrfs inspect-internal dump-tree`, worked out by a script that knows nothing of ours. */
export async function dumpedFree(path: string): Promise<RangeSet> {
  const lines = (await run('/usr/bin/python3', [freeScript, path], { maxBuffer: 512 << 20 })).split('\n');
  return RangeSet.of(rangesIn(lines));
}

/** Where the first copy of a logical address lies, by `btrfs inspect-internal dump-tree`. */
export async function dumpedPlaces(path: string): Promise<(logical: bigint) => bigint> {
  const dump = await run('btrfs', ['inspect-internal', 'dump-tree', '-t', 'chunk', path]);
  const pattern = /CHUNK_ITEM (\d+)\)[\s\S]*?length (\d+)[\s\S]*?stripe 0 devid 1 offset (\d+)/g;
  const chunks = [...dump.matchAll(pattern)].map((found) => found.slice(1).map(BigInt));
  return (logical) => {
    for (const [start = 0n, length = 0n, offset = 0n] of chunks) {
      if (logical >= start && logical < start + length) return offset + logical - start;
    }
    throw new Error(`no chunk holds ${logical}`);
  };
}

/** Ranges, and all of each extent that they have a part of: of an extent of which only a part is in use nobody has the rest. */
export async function wholeExtents(path: string): Promise<(ranges: RangeSet) => RangeSet> {
  const lines = (await run('/usr/bin/python3', [freeScript, path, 'extents'], { maxBuffer: 512 << 20 })).split('\n');
  const extents = rangesIn(lines);
  return (ranges) =>
    ranges.union(RangeSet.of(extents.filter(({ offset, length }) => !isEmpty(ranges.clip(offset, length)))));
}

function isEmpty(ranges: RangeSet): boolean {
  return ranges.count === 0;
}

function rangesIn(lines: readonly string[]): Range[] {
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const [offset = '', length = ''] = line.split(' ');
      return { offset: BigInt(offset), length: BigInt(length) };
    });
}

/** What the kernel tells of files of btrfs in a way of its own. */
export async function btrfsManner(path: string): Promise<KernelManner> {
  return { inodeOf: (id) => BigInt.asUintN(64, id), placeOf: await dumpedPlaces(path), inlineCounted: true };
}

/** What `btrfs check` has to say of an image, data and all, and how it ends. */
export async function btrfsCheck(path: string): Promise<string> {
  const { status, stdout, stderr } = await attempt('btrfs', ['check', '--readonly', '--check-data-csum', path]);
  return `${status}\n${stdout}\n${stderr}`;
}

/** Every superblock, and what the first MiB hashes to. */
export async function btrfsHead(path: string): Promise<readonly [string, string]> {
  const dump = await run('btrfs', ['inspect-internal', 'dump-super', '-a', '-f', path]);
  await using file = await open(path);
  const start = Buffer.alloc(1 << 20);
  await file.read(start, 0, start.length, 0);
  return [dump, sha256(start)];
}

/** Makes the checksum of a structure right again, of the kind that mkfs.btrfs takes by itself. */
export function sealCrc32c(structure: Uint8Array): void {
  viewOf(structure).setUint32(0, crc32c(structure.subarray(checksumRoom)), true);
}
