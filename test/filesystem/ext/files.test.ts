import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import type { FileExtent, FileObject, FileType } from '../../../src/filesystem/file.js';
import { dataPieces } from '../../../src/task/data-pieces.js';
import { populate } from '../../support/ext-files.js';
import {
  digestStep,
  type KernelExtent,
  type KernelFile,
  kernelFiles,
  kernelXattrs,
  SparseDigest,
  sha256,
} from '../../support/kernel-files.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { run } from '../../support/run.js';
import { mountLoop, temporaryFolder } from '../../support/temporary.js';

/** Shapes of files that the kernel makes; `quick` ones for when there is little time, `nightly` ones add no other code. */
const shapes: Record<string, { mke2fs: string; quick?: boolean; nightly?: boolean; size?: string }> = {
  'ext2 of 1 KiB blocks': { mke2fs: '-t ext2 -b 1024' },
  ext3: { mke2fs: '-t ext3 -b 4096', quick: true },
  ext4: { mke2fs: '-t ext4 -b 4096', quick: true },
  'ext4 of 1 KiB blocks': { mke2fs: '-t ext4 -b 1024', quick: true },
  'ext4 of 2 KiB blocks without checksums': {
    mke2fs: '-t ext4 -b 2048 -O ^metadata_csum,^metadata_csum_seed',
    nightly: true,
  },
  'ext4 with content in inodes': { mke2fs: '-t ext4 -b 1024 -I 512 -O inline_data', quick: true },
  'ext4 with content and values in inodes': { mke2fs: '-t ext4 -b 4096 -O inline_data,ea_inode,large_dir' },
  'ext4 with bigalloc': { mke2fs: '-t ext4 -b 4096 -O bigalloc -C 16384', size: '300M' },
  'ext4 with inodes of 128 bytes': { mke2fs: '-t ext4 -b 1024 -I 128 -O ^project' },
  'ext4 without extents': { mke2fs: '-t ext4 -b 1024 -O ^extents,^64bit,^bigalloc', nightly: true },
};

async function populated({ mke2fs, size = '160M' }: { mke2fs: string; size?: string }): Promise<string> {
  const path = join(await temporaryFolder(), 'ext.img');
  await writeFile(path, '');
  await run('mke2fs', ['-Fq', ...mke2fs.split(' '), '-N', '16000', path, size]);
  const { mountPoint, unmount } = await mountLoop(path);
  await populate(mountPoint, { entries: 4000, pieces: 1500, reach: 2 ** 31 + 2 ** 20 });
  await unmount();
  return path;
}

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

describe('walk shows what the kernel shows', () => {
  for (const [name, { quick = false, nightly = false, ...shape }] of Object.entries(shapes)) {
    const it = needs({ programs: ['mke2fs', 'mount', 'getfattr', 'fallocate'], root: true, slow: !quick, nightly });
    it(`of ${name}`, async () => {
      const path = await populated(shape);
      const { mountPoint, unmount } = await mountLoop(path, ['ro']);
      const expected = kernelFiles(mountPoint);
      const xattrs = await kernelXattrs(mountPoint);
      await unmount();
      await using device = await openRaw(path);
      const filesystem = await openExt(device);
      const seen = new Set<string>();
      for await (const { path, file } of filesystem.walk()) {
        const name = path.toString('latin1');
        seen.add(name);
        const kernel = expected.get(name);
        if (kernel === undefined) throw new Error(`the kernel shows no ${name}`);
        const { stats } = kernel;
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
          allocated: (stats.blocks - (inline && file.type === 'file' ? (stats.size + 511n) / 512n : 0n)) * 512n,
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
        expect(file.id, name).toBe(stats.ino);
        expect(await digestOf(file), name).toBe(kernel.digest);
        const own = await file.xattrs();
        const values = own.map(({ name, value }) => [name.toString('latin1'), Buffer.from(value).toString('hex')]);
        expect(Object.fromEntries(values), name).toEqual(xattrs.get(name) ?? {});
        if (kernel.extents === undefined) continue;
        // The kernel tells where content in an inode begins, and nothing of its second part.
        const told = inline ? content.slice(0, 1).map((extent) => ({ ...extent, length: lengthOf(content) })) : content;
        expect(told.map(asKernel), name).toEqual(kernel.extents);
      }
      expect([...seen].sort()).toEqual([...expected.keys()].sort());
    }, 120_000);
  }
});
