import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { openBtrfs } from '../../../src/filesystem/btrfs/btrfs.js';
import { btrfsCheck, dumpedFree, emptyBtrfs } from '../../support/btrfs-image.js';
import { poison } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['mkfs.btrfs', 'btrfs', 'python3'] });

/** Shapes that this kernel does not mount: mkfs.btrfs fills them itself. */
const shapes: Record<string, string> = {
  'sectors of 64 KiB': '--sectorsize 65536',
  'sectors and nodes of 16 KiB': '--sectorsize 16384 --nodesize 16384',
};

describe('of btrfs as mkfs.btrfs fills it, files are what it was given, free space is what btrfs dump-tree leaves, and junk there harms nothing', () => {
  for (const [name, options] of Object.entries(shapes)) {
    it(name, async () => {
      const folder = await temporaryFolder();
      await mkdir(join(folder, 'sub'));
      for (let i = 0; i < 60; i++) await writeFile(join(folder, 'sub', `${i}`), `${i} `.repeat(i * i));
      await writeFile(join(folder, 'large'), Buffer.alloc(700_001, 'large '));
      await symlink('sub/3', join(folder, 'link'));
      const path = await emptyBtrfs(options, '160M', folder);
      await using device = await openRaw(path);
      const filesystem = await openBtrfs(device);
      expect(filesystem).toMatchObject({ state: { kind: 'clean' } });
      const free = await filesystem.freeSpace();
      expect([...free]).toEqual([...(await dumpedFree(path))]);
      const check = await btrfsCheck(path);
      expect(check).toMatch(/^0\n/);
      await poison(path, free);
      expect(await btrfsCheck(path)).toBe(check);
      let count = 0;
      for await (const { path: own, file } of (await openBtrfs(device)).walk()) {
        count++;
        if (file.type === 'symlink') expect(`${await file.linkTarget()}`).toBe('sub/3');
        if (file.type !== 'file') continue;
        await using content = await file.content();
        const bytes = Buffer.alloc(Number(content.facts.size));
        await content.read(bytes, 0n);
        expect(bytes.equals(await readFile(join(folder, own.toString()))), own.toString()).toBe(true);
      }
      expect(count).toBe(1 + 1 + 60 + 2);
    }, 60_000);
  }
});
