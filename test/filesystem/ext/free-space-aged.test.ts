import { truncate } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { dumpe2fs, extImage } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { run } from '../../support/run.js';
import { mountLoop } from '../../support/temporary.js';

const mebibyte = 1024 * 1024;
const programs = ['mke2fs', 'debugfs', 'dumpe2fs', 'resize2fs', 'e2fsck', 'tune2fs', 'mount'] as const;
const it = needs({ programs, root: true });

async function agreesWithDumpe2fs(path: string): Promise<void> {
  const { free, freeCount, blockSize } = await dumpe2fs(path);
  await using device = await openRaw(path);
  const filesystem = await openExt(device);
  expect(filesystem.state).toEqual({ kind: 'clean' });
  expect([...(await filesystem.freeSpace())]).toEqual([...free]);
  expect(free.total).toBe(BigInt(freeCount) * BigInt(blockSize));
}

/** Files written and every other one deleted, by the kernel. */
async function use(path: string): Promise<void> {
  const { mountPoint, unmount } = await mountLoop(path);
  const script =
    'cd "$1" && for i in $(seq 60); do head -c $((i * 9000)) /dev/urandom > used-$i; done && sync -f . && rm used-*[02468]';
  await run('sh', ['-c', script, 'sh', mountPoint]);
  await unmount();
}

describe('free space is what dumpe2fs lists', () => {
  for (const mke2fs of [
    '-t ext2 -b 1024',
    '-t ext3 -b 4096',
    '-t ext4 -b 1024',
    '-t ext4 -b 4096 -g 1024',
    '-t ext4 -b 1024 -O ^metadata_csum,uninit_bg',
    '-t ext4 -b 1024 -g 512 -N 4096 -O meta_bg,^resize_inode',
    '-t ext4 -b 4096 -O bigalloc -C 16384',
  ]) {
    it(`after the kernel used ${mke2fs}`, async () => {
      const { path } = await extImage({ mke2fs, size: '48M' }, 20);
      await use(path);
      await agreesWithDumpe2fs(path);
    });
  }

  for (const mke2fs of [
    '-t ext4 -b 1024',
    '-t ext4 -b 1024 -O ^resize_inode',
    '-t ext4 -b 1024 -O sparse_super2',
    '-t ext4 -b 1024 -g 512 -N 4096 -O meta_bg,^resize_inode',
    '-t ext4 -b 1024 -E resize=30000',
  ]) {
    it(`after resize2fs made ${mke2fs} larger and smaller`, async () => {
      const { path } = await extImage({ mke2fs, size: '24M' }, 20);
      for (const size of [60, 37]) {
        await run('e2fsck', ['-fp', path]);
        await truncate(path, 60 * mebibyte);
        await run('resize2fs', [path, `${size}M`]);
        await agreesWithDumpe2fs(path);
      }
    });
  }

  it('after tune2fs took its checksums away', async () => {
    const { path } = await extImage({ mke2fs: '-t ext4 -b 1024', size: '24M' }, 20);
    await run('tune2fs', ['-O', '^metadata_csum', path]);
    await agreesWithDumpe2fs(path);
  });

  it('after tune2fs gave it another UUID', async () => {
    const { path } = await extImage({ mke2fs: '-t ext4 -b 1024 -O metadata_csum_seed', size: '24M' }, 20);
    await run('tune2fs', ['-U', '0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9', path]);
    await agreesWithDumpe2fs(path);
  });
});
