import { describe, expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { checks, contentsOf, dumpe2fs, extImage, poison } from '../../support/ext-image.js';
import { extVariants } from '../../support/ext-variants.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';

const programs = ['mke2fs', 'debugfs', 'dumpe2fs', 'e2fsck'] as const;
const quick = ['ext2 of revision 0', 'ext4 of 1 KiB blocks', 'meta_bg', 'bigalloc of 1 KiB blocks'];

async function freeSpaceOf(path: string) {
  await using device = await openRaw(path);
  return await (await openExt(device)).freeSpace();
}

describe('junk in all of the free space leaves every file and every superblock copy as it was', () => {
  for (const [name, recipe] of Object.entries(extVariants)) {
    const it = needs({ programs, slow: !quick.includes(name) });
    it(`of ${name}`, async () => {
      const { path, contents } = await extImage(recipe);
      const dump = await dumpe2fs(path);
      const before = await checks(path, dump);
      const files = await contentsOf(path);
      await poison(path, await freeSpaceOf(path));
      expect(await checks(path, dump)).toEqual(before);
      if (recipe.unclean !== true) expect(before[0]).toMatch(/^primary: 0$/m);
      expect(await contentsOf(path)).toEqual(files);
      expect(Object.keys(files)).toEqual(Object.keys(contents));
    });
  }
});
