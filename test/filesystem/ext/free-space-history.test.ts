import { randomBytes } from 'node:crypto';
import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { dumpe2fs, extImage } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { attempt, run } from '../../support/run.js';
import { mountLoop } from '../../support/temporary.js';

const programs = ['mke2fs', 'debugfs', 'dumpe2fs', 'e2fsck', 'resize2fs', 'tune2fs', 'mount'] as const;
const mebibyte = 1024 * 1024;

/** What the filesystem went through since mke2fs, beyond what free-space-aged.test.ts has. */
type Step = (path: string) => Promise<unknown>;

const grow =
  (size: number): Step =>
  async (path) => {
    await truncate(path, size * mebibyte);
    await run('resize2fs', ['-f', path]);
  };
const shrink: Step = (path) => run('resize2fs', ['-fM', path]);
const tune =
  (...args: string[]): Step =>
  (path) =>
    run('tune2fs', [...args, path], { stdin: 'pipe', input: 'y\n' });
const check: Step = (path) => attempt('e2fsck', ['-fy', path]);

/** Files come and go on the mounted filesystem. */
const live: Step = async (path) => {
  const { mountPoint, unmount } = await mountLoop(path);
  const name = (i: number) => join(mountPoint, `live-${i}`);
  for (let i = 0; i < 60; i++) await writeFile(name(i), randomBytes(1 + ((i * 7919) % 200_000)));
  for (let i = 0; i < 60; i += 2) await rm(name(i));
  for (let i = 60; i < 80; i++) await writeFile(name(i), randomBytes(1 + ((i * 7919) % 300_000)));
  await unmount();
};

const histories: Record<string, { mke2fs: string; steps: Step[] }> = {
  'work on ext4 without a journal': { mke2fs: '-t ext4 -b 1024 -O ^has_journal', steps: [live] },
  'work on uninit_bg': { mke2fs: '-t ext4 -b 1024 -O ^metadata_csum,uninit_bg', steps: [live] },
  'work on small groups of 4 KiB blocks': { mke2fs: '-t ext4 -b 4096 -g 1024', steps: [live] },
  'shrinking and growth of meta_bg': {
    mke2fs: '-t ext4 -b 1024 -g 512 -N 4096 -O meta_bg,^resize_inode',
    steps: [shrink, grow(60), live],
  },
  'growth past the room for descriptors': {
    mke2fs: '-t ext4 -b 1024 -E resize=81920',
    steps: [grow(700), live],
  },
  'growth of ext2': { mke2fs: '-t ext2 -b 1024', steps: [grow(90), live] },
  shrinking: { mke2fs: '-t ext4 -b 1024', steps: [shrink] },
  'shrinking and growth': { mke2fs: '-t ext4 -b 1024', steps: [shrink, grow(70), live] },
  'change to 64 bits': {
    mke2fs: '-t ext4 -b 1024 -O ^64bit',
    steps: [(path) => run('resize2fs', ['-bf', path]), live],
  },
  'change to 32 bits': { mke2fs: '-t ext4 -b 1024', steps: [(path) => run('resize2fs', ['-sf', path]), live] },
  'a new UUID': { mke2fs: '-t ext4 -b 1024', steps: [tune('-f', '-U', 'random'), live] },
  'checksums put on': {
    mke2fs: '-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg',
    steps: [tune('-O', 'metadata_csum'), check, live],
  },
  'a journal put on': { mke2fs: '-t ext2 -b 1024', steps: [tune('-j'), live] },
  'larger inodes': { mke2fs: '-t ext4 -b 1024 -I 128 -O ^project,^flex_bg', steps: [tune('-I', '256'), check, live] },
};

describe('free space is what dumpe2fs lists, after', () => {
  for (const [name, { mke2fs, steps }] of Object.entries(histories)) {
    needs({ programs, root: true, slow: true })(name, async () => {
      const { path } = await extImage({ mke2fs });
      for (const step of steps) await step(path);
      const { free } = await dumpe2fs(path);
      await using device = await openRaw(path);
      const filesystem = await openExt(device);
      expect(filesystem.state).toEqual({ kind: 'clean' });
      expect([...(await filesystem.freeSpace())]).toEqual([...free]);
    });
  }
});
