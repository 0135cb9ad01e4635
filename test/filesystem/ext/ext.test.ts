import { describe, expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { extImage, patchSuperblock } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { attempt } from '../../support/run.js';

const it = needs({ programs: ['mke2fs', 'debugfs', 'blkid'] });

/** Value by value, since only so does blkid print them as they are. */
async function blkid(path: string): Promise<{ TYPE: string; LABEL: string; UUID: string }> {
  const value = (tag: string) => attempt('blkid', ['-p', '-o', 'value', '-s', tag, path]);
  const [type, label, uuid] = [await value('TYPE'), await value('LABEL'), await value('UUID')];
  return { TYPE: type.stdout, LABEL: label.stdout, UUID: uuid.stdout };
}

async function ours(path: string): Promise<{ TYPE: string; LABEL: string; UUID: string }> {
  await using device = await openRaw(path);
  const { type, label, uuid } = await openExt(device);
  return { TYPE: type, LABEL: label, UUID: uuid };
}

const uuid = '0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9';

describe('type, label and UUID are spelled as blkid spells them', () => {
  const shapes: Record<string, string> = {
    ext2: '-t ext2',
    ext3: '-t ext3',
    ext4: '-t ext4',
    'ext2 of revision 0': '-t ext2 -r 0 -O none',
    'ext2 with meta_bg': '-t ext2 -O meta_bg,^resize_inode',
    'ext3 with meta_bg': '-t ext3 -O meta_bg,^resize_inode',
    'ext2 with extents': '-t ext2 -O extent',
    'ext2 with huge_file': '-t ext2 -O huge_file',
    'ext3 with flex_bg': '-t ext3 -O flex_bg',
    'ext3 with dir_nlink': '-t ext3 -O dir_nlink',
    'ext4 without a journal': '-t ext4 -O ^has_journal',
    'a label of 16 characters': '-t ext4 -L abcdefghijklmnop',
    'a label in UTF-8': '-t ext4 -L größe-数据',
  };
  for (const [name, mke2fs] of Object.entries(shapes)) {
    it(`of ${name}`, async () => {
      const { path } = await extImage({ mke2fs: `-U ${uuid} ${mke2fs}`, size: '8M' }, 0);
      const known = await blkid(path);
      expect(await ours(path)).toEqual(known);
      expect(known).toMatchObject({ TYPE: expect.stringMatching(/^ext[234]$/), UUID: uuid });
    });
  }

  it('of a label with white space at its end', async () => {
    const { path } = await extImage({ mke2fs: '-t ext4', size: '8M' }, 0);
    await patchSuperblock(path, { s_volume_name: Buffer.from('two words  \0\0\0\0\0') });
    const known = await blkid(path);
    expect(await ours(path)).toEqual(known);
    expect(known.LABEL).toBe('two words');
  });

  it('of a UUID of zeros, which is none', async () => {
    const { path } = await extImage({ mke2fs: '-t ext2', size: '8M' }, 0);
    await patchSuperblock(path, { s_uuid: Buffer.alloc(16) });
    const known = await blkid(path);
    expect(await ours(path)).toEqual(known);
    expect(known).toEqual({ TYPE: 'ext2', LABEL: '', UUID: '' });
  });
});
