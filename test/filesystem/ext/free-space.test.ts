import { describe, expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { dumpe2fs, extImage } from '../../support/ext-image.js';
import { extVariants, quickVariants } from '../../support/ext-variants.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';

const programs = ['mke2fs', 'debugfs', 'dumpe2fs'] as const;

describe('free space is what dumpe2fs lists', () => {
  for (const [name, recipe] of Object.entries(extVariants)) {
    const it = needs({ programs, slow: !quickVariants.includes(name) });
    it(`of ${name}`, async () => {
      const { path } = await extImage(recipe);
      const { free, blockCount, freeCount, blockSize } = await dumpe2fs(path);
      await using device = await openRaw(path);
      const filesystem = await openExt(device);
      expect(filesystem.state).toEqual({ kind: 'clean' });
      expect([...(await filesystem.freeSpace())]).toEqual([...free]);
      const freeBytes = BigInt(freeCount) * BigInt(blockSize);
      const size = BigInt(blockCount) * BigInt(blockSize);
      expect(await filesystem.usage()).toEqual({ used: size - freeBytes, free: freeBytes });
      expect(filesystem).toMatchObject({ size, blockSize });
      expect(free.count).toBeGreaterThan(1);
    });
  }
});
