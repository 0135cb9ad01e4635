import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sameFolded } from '../../../src/filesystem/ext/casefold.js';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { debugfs } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

/** Pairs that Unicode's CaseFolding.txt and UnicodeData.txt make one, by common and simple folding. */
test.each([
  ['README', 'readme'],
  ['Ärger', 'äRGER'],
  ['Ärger', 'A\u0308rger'],
  ['ΣΑΣ', 'σας'.replace('ς', 'σ')],
  ['Ⅷ', 'ⅷ'],
  ['ДОМ', 'дом'],
])('%s and %s are one name where case folds', (a, b) => {
  expect(sameFolded(Buffer.from(a), Buffer.from(b))).toBe(true);
});

test('other names, and those that are no UTF-8, are not', () => {
  expect(sameFolded(Buffer.from('a'), Buffer.from('b'))).toBe(false);
  expect(sameFolded(Buffer.from('a'), Buffer.from('a '))).toBe(false);
  expect(sameFolded(Buffer.from([0xff, 0x41]), Buffer.from([0xff, 0x61]))).toBe(false);
});

needs({ programs: ['mke2fs', 'debugfs'] })(
  'a directory that folds case finds a name as it is before any other',
  async () => {
    const folder = await temporaryFolder();
    const [root, path] = [join(folder, 'root'), join(folder, 'ext.img')];
    for (const name of ['folds', 'exact']) {
      mkdirSync(join(root, name), { recursive: true });
      for (const file of ['Straße', 'NAME', 'name']) writeFileSync(join(root, name, file), file);
    }
    await run('mke2fs', ['-Fq', '-t', 'ext4', '-O', 'casefold', '-d', root, path, '8M']);
    // EXTENTS and CASEFOLD, as chattr +F leaves them.
    await debugfs(path, 'set_inode_field /folds flags 0x40080000');
    await using device = await openRaw(path);
    const filesystem = await openExt(device);
    const contentOf = async (name: string) => {
      await using content = await (await filesystem.open(name)).content();
      const bytes = Buffer.alloc(Number(content.facts.size));
      await content.read(bytes, 0n);
      return bytes.toString();
    };
    expect(await contentOf('/folds/name')).toBe('name');
    expect(await contentOf('/folds/NAME')).toBe('NAME');
    expect(['NAME', 'name']).toContain(await contentOf('/folds/Name'));
    expect(await contentOf('/folds/STRAßE')).toBe('Straße');
    expect(await contentOf('/exact/Straße')).toBe('Straße');
    await expect(contentOf('/exact/STRAßE')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  },
);
