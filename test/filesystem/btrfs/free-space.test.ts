import { describe, expect } from 'vitest';
import { openBtrfs } from '../../../src/filesystem/btrfs/btrfs.js';
import { expectAsKernel } from '../../support/as-kernel.js';
import {
  btrfsCheck,
  btrfsHead,
  btrfsImage,
  btrfsManner,
  btrfsVariants,
  dumpedFree,
  quickBtrfsVariants,
  wholeExtents,
} from '../../support/btrfs-image.js';
import { expectCovered } from '../../support/covering.js';
import { poison } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';

const programs = ['mkfs.btrfs', 'btrfs', 'mount', 'getfattr', 'fallocate', 'python3'] as const;

describe('of btrfs as the kernel fills it, files are as the kernel shows them, free space is what btrfs dump-tree leaves, the two and metadata cover all, and junk in what is free harms nothing', () => {
  for (const [name, recipe] of Object.entries(btrfsVariants)) {
    const it = needs({ programs, root: true, slow: !quickBtrfsVariants.includes(name) });
    it(name, async () => {
      const path = await btrfsImage(recipe);
      await using device = await openRaw(path);
      const filesystem = await openBtrfs(device);
      expect(filesystem.state).toEqual({ kind: 'clean' });
      const free = await filesystem.freeSpace();
      expect([...free]).toEqual([...(await dumpedFree(path))]);
      await expectCovered(filesystem, await wholeExtents(path));
      const [check, head] = [await btrfsCheck(path), await btrfsHead(path)];
      expect(check).toMatch(/^0\n/);
      await poison(path, free);
      expect(await btrfsCheck(path)).toBe(check);
      expect(await btrfsHead(path)).toEqual(head);
      await expectAsKernel(path, await openBtrfs(device), await btrfsManner(path));
    }, 120_000);
  }
});
