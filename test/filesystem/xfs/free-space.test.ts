import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import type { Filesystem } from '../../../src/filesystem/filesystem.js';
import { openXfs } from '../../../src/filesystem/xfs/xfs.js';
import { expectAsKernel } from '../../support/as-kernel.js';
import { expectCovered } from '../../support/covering.js';
import { poison } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import {
  protoXfsImage,
  quickXfsVariants,
  unmountableXfs,
  xfsDbFree,
  xfsImage,
  xfsRepair,
  xfsVariants,
} from '../../support/xfs-image.js';

const programs = ['mkfs.xfs', 'mount', 'getfattr', 'fallocate'] as const;

describe('of XFS as the kernel fills it, files are as the kernel shows them, free space is what xfs_db lists, the two and metadata cover all, and junk in what is free harms nothing', () => {
  for (const [name, recipe] of Object.entries(xfsVariants)) {
    const it = needs({ programs, root: true, slow: !quickXfsVariants.includes(name) });
    it(name, async () => {
      const path = await xfsImage(recipe);
      await using device = await openRaw(path);
      const filesystem = await openXfs(device);
      expect(filesystem.state).toEqual({ kind: 'clean' });
      const free = await filesystem.freeSpace();
      expect([...free]).toEqual([...(await xfsDbFree(path))]);
      await expectCovered(filesystem);
      const before = await xfsRepair(path);
      expect(before).toMatch(/^0\n/);
      await poison(path, free);
      expect(await xfsRepair(path)).toBe(before);
      await expectAsKernel(path, await openXfs(device));
    }, 120_000);
  }
});

describe('of XFS as mkfs.xfs fills it, files are what it was given, free space is what xfs_db lists, and the two and metadata cover all', () => {
  for (const [name, recipe] of Object.entries(unmountableXfs)) {
    const it = needs({ programs: ['mkfs.xfs'] });
    it(name, async () => {
      const { path, folder } = await protoXfsImage(recipe);
      await using device = await openRaw(path);
      const filesystem = await openXfs(device);
      expect(filesystem.state).toEqual({ kind: 'clean' });
      const free = await filesystem.freeSpace();
      expect([...free]).toEqual([...(await xfsDbFree(path))]);
      await expectCovered(filesystem);
      const before = await xfsRepair(path);
      expect(before).toMatch(/^0\n/);
      await poison(path, free);
      expect(await xfsRepair(path)).toBe(before);
      await expectGiven(await openXfs(device), folder);
    }, 60_000);
  }
});

/** Expects the files of {@link protoXfsImage}. */
async function expectGiven(filesystem: Filesystem, folder: string): Promise<void> {
  const seen: string[] = [];
  for await (const { path, file } of filesystem.walk({ sorted: true })) {
    seen.push(path.toString());
    if (file.type !== 'file' || path.toString().startsWith('/few')) continue;
    await using content = await file.content();
    const bytes = Buffer.alloc(Number(content.facts.size));
    await content.read(bytes, 0n);
    expect(bytes.equals(await readFile(join(folder, path.toString()))), path.toString()).toBe(true);
  }
  expect(seen.length).toBeGreaterThanOrEqual(1 + 5 + 1 + 300 + 2 + 2);
  expect(`${await (await filesystem.open('/short', { follow: false })).linkTarget()}`).toBe('sub/file-1');
  if (seen.includes('/long')) {
    expect(`${await (await filesystem.open('/long', { follow: false })).linkTarget()}`).toBe('far/'.repeat(200));
  }
  expect((await filesystem.open('/null')).attributes.device).toEqual({ major: 1, minor: 3 });
  expect((await filesystem.open('/70000')).attributes).toMatchObject({
    mode: 0o644,
    uid: 1000,
    gid: 100,
    size: 70_000n,
  });
}
