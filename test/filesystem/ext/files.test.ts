import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { expectAsKernel } from '../../support/as-kernel.js';
import { needs } from '../../support/needs.js';
import { populate } from '../../support/populate.js';
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

describe('walk shows what the kernel shows', () => {
  for (const [name, { quick = false, nightly = false, ...shape }] of Object.entries(shapes)) {
    const it = needs({ programs: ['mke2fs', 'mount', 'getfattr', 'fallocate'], root: true, slow: !quick, nightly });
    it(`of ${name}`, async () => {
      const path = await populated(shape);
      await using device = await openRaw(path);
      await expectAsKernel(path, await openExt(device));
    }, 120_000);
  }
});
