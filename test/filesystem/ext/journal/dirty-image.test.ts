import { copyFile } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import type { RangeSet } from '../../../../src/binary/range-set.js';
import { openExt } from '../../../../src/filesystem/ext/ext.js';
import { reportStatus } from '../../../../src/task/sparsify/report.js';
import { sparsify } from '../../../../src/task/sparsify/sparsify.js';
import { type DirtyRecipe, dirtyImage, findings, mountedContents, ourContents } from '../../../support/dirty-ext.js';
import { dumpe2fs, poison } from '../../../support/ext-image.js';
import { differingBlocks, replayedByDebugfs, superblocks, withReplayed } from '../../../support/ext-journal.js';
import { needs } from '../../../support/needs.js';
import { openRaw } from '../../../support/raw-device.js';
import { attempt, run } from '../../../support/run.js';

const programs = ['mke2fs', 'debugfs', 'dumpe2fs', 'e2fsck', 'mount'] as const;

const recipes: Record<string, DirtyRecipe> = {
  'ext3 of 1 KiB blocks': { mke2fs: '-t ext3 -b 1024' },
  'ext3 of 4 KiB blocks': { mke2fs: '-t ext3 -b 4096' },
  'ext3 with journalled data': { mke2fs: '-t ext3 -b 1024 -J size=8', mount: ['data=journal'] },
  'ext4 of 1 KiB blocks': { mke2fs: '-t ext4 -b 1024' },
  'ext4 of 4 KiB blocks': { mke2fs: '-t ext4 -b 4096' },
  'ext4 without 64bit': { mke2fs: '-t ext4 -b 1024 -O ^64bit' },
  'ext4 without metadata_csum': { mke2fs: '-t ext4 -b 1024 -O ^metadata_csum,uninit_bg' },
  'ext4 with checksums v1 in its journal': {
    mke2fs: '-t ext4 -b 1024 -O ^metadata_csum,uninit_bg',
    mount: ['journal_checksum'],
  },
  'ext4 with asynchronous commits': { mke2fs: '-t ext4 -b 1024', mount: ['journal_async_commit', 'data=writeback'] },
  'ext4 in small groups, with orphan_file': { mke2fs: '-t ext4 -b 1024 -g 1024 -O orphan_file' },
  'ext4 with a small journal': { mke2fs: '-t ext4 -b 1024 -J size=1' },
  bigalloc: { mke2fs: '-t ext4 -b 1024 -O bigalloc -C 4096 -g 2048' },
};
const quick = ['ext3 of 1 KiB blocks', 'ext4 of 4 KiB blocks'];
/** Each of their features is in one of the others. */
const nightly = [
  'ext3 of 4 KiB blocks',
  'ext4 of 1 KiB blocks',
  'ext4 without 64bit',
  'ext4 without metadata_csum',
  'ext4 in small groups, with orphan_file',
];

async function freeSpaceOf(path: string): Promise<RangeSet> {
  await using device = await openRaw(path);
  const filesystem = await openExt(device);
  expect(filesystem.state).toMatchObject({ kind: 'needs-recovery', replayable: true });
  return await filesystem.freeSpace();
}

async function copyOf(path: string, name: string): Promise<string> {
  await copyFile(path, `${path}.${name}`);
  return `${path}.${name}`;
}

describe('a filesystem that was copied while mounted', () => {
  for (const [name, recipe] of Object.entries(recipes)) {
    const takes = { slow: !quick.includes(name), nightly: nightly.includes(name) };
    needs({ programs, root: true, ...takes })(`${name}: every file is safe`, async () => {
      const { path, synced, orphan } = await dirtyImage(recipe);
      const replayed = await replayedByDebugfs(path);
      const { backups, blockSize } = await dumpe2fs(replayed);
      await withReplayed(path, async (view, own) => {
        const ignored = own.union(superblocks(blockSize, backups));
        expect(await differingBlocks(view, replayed, blockSize, ignored)).toEqual([]);
      });

      const free = await freeSpaceOf(path);
      expect(free.total).toBeGreaterThan(1_000_000n);
      const blocks = await run('debugfs', ['-R', `blocks <${orphan}>`, replayed]);
      const orphaned = blocks.trim().split(/\s+/).map(Number);
      expect(orphaned.length).toBeGreaterThan(100_000 / blockSize);
      for (const block of orphaned) expect(free.has(BigInt(block) * BigInt(blockSize))).toBe(false);

      const checked = await copyOf(path, 'checked');
      await attempt('e2fsck', ['-fy', checked]);
      expect(free.subtract((await dumpe2fs(checked)).free).total).toBe(0n);

      const untouched = await copyOf(path, 'untouched');
      const contents = await mountedContents(untouched);
      expect(contents).toMatchObject(synced);
      expect(await ourContents(path)).toEqual(contents);
      expect(free.subtract((await dumpe2fs(untouched)).free).total).toBe(0n);

      const poisoned = await copyOf(path, 'poisoned');
      await poison(poisoned, free);
      expect(await mountedContents(poisoned)).toEqual(contents);
      expect(await findings(poisoned)).toMatch(/^0\n/);

      const shrunk = await copyOf(path, 'shrunk');
      const report = await sparsify(shrunk, {}, {});
      expect(report.volumes).toMatchObject([{ replayed: true, free: free.total, leftAlone: undefined }]);
      expect(reportStatus(report, true)).toBe(0);
      expect(await mountedContents(shrunk)).toEqual(contents);
      expect(await findings(shrunk)).toMatch(/^0\n/);
    });
  }
});
