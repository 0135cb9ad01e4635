import { expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import type { extSuperblock } from '../../../src/filesystem/ext/on-disk.js';
import { extImage } from '../../support/ext-image.js';
import { inMemory, patchOnDevice } from '../../support/ext-memory.js';
import { needs } from '../../support/needs.js';

type Values = Parameters<typeof extSuperblock.put>[1];

/** 2^32 - 8 groups and as many inodes. */
const groups = 0xffff_fff8;
const blocks = BigInt(groups) * 8n;

/** Geometries that are consistent, and that nothing could hold in memory. */
const hostile: Record<string, { mke2fs: string; values: Values; refusal: object }> = {
  'groups of 8 blocks, 2^32 of them': {
    mke2fs: '-t ext4 -b 1024 -O 64bit,^bigalloc,^resize_inode',
    values: {
      s_blocks_per_group: 8,
      s_blocks_count_lo: Number((blocks + 1n) & 0xffff_ffffn),
      s_blocks_count_hi: Number((blocks + 1n) >> 32n),
      s_inodes_per_group: 1,
      s_inodes_count: groups,
    },
    refusal: { code: 'UNSUPPORTED', facts: { field: 's_blocks_count' } },
  },
  'two million groups whose descriptors are not there': {
    mke2fs: '-t ext4 -b 1024 -O 64bit,^metadata_csum,^uninit_bg,^resize_inode',
    values: {
      s_blocks_per_group: 8192,
      s_blocks_count_lo: 0x8000_0000,
      s_blocks_count_hi: 3,
      s_inodes_per_group: 8,
      s_inodes_count: 0xe_0000 * 16,
    },
    refusal: { code: 'CORRUPT', facts: {} },
  },
  'clusters of 1 GiB': {
    mke2fs: '-t ext4 -b 1024 -O bigalloc,^resize_inode -C 4096 -g 1024',
    values: {
      s_log_cluster_size: 20,
      s_clusters_per_group: 8,
      s_blocks_per_group: 8 * 2 ** 20,
      s_blocks_count_lo: 0xffff_fff8,
      s_inodes_per_group: 8,
      s_inodes_count: 8 * 512,
    },
    refusal: { code: 'CORRUPT', facts: {} },
  },
};

const it = needs({ programs: ['mke2fs', 'debugfs'] });

for (const [name, { mke2fs, values, refusal }] of Object.entries(hostile)) {
  it(`refuses ${name} at once, on a device that has the room`, async () => {
    const { path } = await extImage({ mke2fs, size: '8M' }, 0);
    await using device = await inMemory(path, 2n ** 61n);
    await patchOnDevice(device, values);
    const filesystem = await openExt(device);
    await expect(filesystem.freeSpace()).rejects.toMatchObject(refusal);
  });
}
