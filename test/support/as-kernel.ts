import { expect } from 'vitest';
import type { FileExtent, FileObject, FileType } from '../../src/filesystem/file.js';
import type { Filesystem } from '../../src/filesystem/filesystem.js';
import { dataPieces } from '../../src/task/data-pieces.js';
import {
  digestStep,
  joined,
  type KernelExtent,
  type KernelFile,
  kernelFiles,
  kernelXattrs,
  SparseDigest,
  sha256,
} from './kernel-files.js';
import { mountLoop } from './temporary.js';

/** What the kernel tells of one family of filesystems in a way of its own. */
export interface KernelManner {
  /** What it calls the inode of a file. */
  readonly inodeOf?: (id: bigint) => bigint;
  /** Where the device has what it tells to be at an offset. */
  readonly placeOf?: (offset: bigint) => bigint;
  /** Whether it counts content in an inode as room that is taken, and tells not where it is. */
  readonly inlineCounted?: boolean;
}

/** Expects all that a filesystem says of its files to be what the kernel says when it has the image mounted. */
export async function expectAsKernel(
  image: string,
  filesystem: Filesystem,
  { inodeOf = (id) => id, placeOf = (offset) => offset, inlineCounted = false }: KernelManner = {},
): Promise<void> {
  const { mountPoint, unmount } = await mountLoop(image, ['ro']);
  const expected = kernelFiles(mountPoint);
  const xattrs = await kernelXattrs(mountPoint);
  await unmount();
  const seen = new Set<string>();
  for await (const { path, file } of filesystem.walk()) {
    const name = path.toString('latin1');
    seen.add(name);
    const kernel = expected.get(name);
    if (kernel === undefined) throw new Error(`the kernel shows no ${name}`);
    const { stats } = kernel;
    if (inlineCounted && stats.ino === absentSubvolume) {
      expect(file.type, name).toBe('directory');
      continue;
    }
    const content = (await mapOf(file)).filter(({ role }) => role === 'content');
    const inline = content.some(({ inline }) => inline);
    expect({ name, type: file.type, ...file.attributes }).toEqual({
      name,
      type: typeOf(kernel),
      mode: Number(stats.mode) & 0o7777,
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      size: stats.size,
      links: Number(stats.nlink),
      // For content in an inode, which takes no room, the kernel adds some.
      allocated:
        (stats.blocks - (inline && !inlineCounted && file.type === 'file' ? (stats.size + 511n) / 512n : 0n)) * 512n,
      device: ['char', 'block'].includes(file.type)
        ? {
            major: Number((stats.rdev >> 8n) & 0xfffn),
            minor: Number((stats.rdev & 0xffn) | ((stats.rdev >> 12n) & 0xfff00n)),
          }
        : undefined,
      atimeNs: stats.atimeNs,
      mtimeNs: stats.mtimeNs,
      ctimeNs: stats.ctimeNs,
      birthNs: stats.birthtimeNs === 0n ? undefined : stats.birthtimeNs,
    });
    expect(inodeOf(file.id), name).toBe(stats.ino);
    expect(await digestOf(file), name).toBe(kernel.digest);
    const own = await file.xattrs();
    const values = own.map(({ name, value }) => [name.toString('latin1'), Buffer.from(value).toString('hex')]);
    expect(Object.fromEntries(values), name).toEqual(xattrs.get(name) ?? {});
    if (kernel.extents === undefined) continue;
    if (inlineCounted) {
      const unit = BigInt(filesystem.blockSize);
      const own = content.map((extent) => asKernel({ ...extent, length: extent.fileLength }));
      const known = own.map((extent) => (extent.inline ? { ...extent, offset: 0n, length: unit } : extent));
      const there = kernel.extents.map((extent) => ({
        ...extent,
        offset: extent.inline ? 0n : placeOf(extent.offset),
      }));
      expect(joined(known), name).toEqual(joined(there));
      continue;
    }
    // The kernel tells where content in an inode begins, and nothing of its second part.
    const told = inline ? content.slice(0, 1).map((extent) => ({ ...extent, length: lengthOf(content) })) : content;
    expect(told.map(asKernel), name).toEqual(kernel.extents);
  }
  expect([...seen].sort()).toEqual([...expected.keys()].sort());
}

/** BTRFS_EMPTY_SUBVOL_DIR_OBJECTID: the kernel makes it up, times and all. */
const absentSubvolume = 2n;

async function digestOf(file: FileObject): Promise<string | undefined> {
  if (file.type === 'symlink') return sha256(await file.linkTarget());
  if (file.type !== 'file') return undefined;
  await using content = await file.content();
  let done = -1n;
  const { size } = content.facts;
  const hash = new SparseDigest(size);
  for await (const { offset, length } of dataPieces(content, BigInt(digestStep), undefined)) {
    // A step that is data in part is hashed as a whole.
    const start = offset - (offset % BigInt(digestStep));
    if (offset > start && done > start) continue;
    done = start + BigInt(digestStep);
    const bytes = Buffer.alloc(Number(done < size ? BigInt(digestStep) : size - start));
    await content.read(bytes, start);
    hash.update(bytes, start);
    expect(length).toBeGreaterThan(0n);
  }
  return hash.digest();
}

function typeOf({ stats }: KernelFile): FileType {
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isCharacterDevice()) return 'char';
  if (stats.isBlockDevice()) return 'block';
  if (stats.isFIFO()) return 'fifo';
  return stats.isSocket() ? 'socket' : 'file';
}

async function mapOf(file: FileObject): Promise<FileExtent[]> {
  const map: FileExtent[] = [];
  for await (const extent of file.fileMap()) map.push(extent);
  return map;
}

function lengthOf(extents: readonly FileExtent[]): bigint {
  return extents.reduce((sum, { length }) => sum + length, 0n);
}

function asKernel({ fileOffset, length, offset, unwritten, inline }: FileExtent): KernelExtent {
  return { fileOffset, length, offset, unwritten, inline };
}
