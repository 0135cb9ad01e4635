import { copyFile } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { extSuperblock, superblockOffset } from '../../../src/filesystem/ext/on-disk.js';
import { extImage, patchSuperblock } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { patch } from '../../support/partition-image.js';
import { openRaw } from '../../support/raw-device.js';

type Values = Parameters<typeof extSuperblock.put>[1];
const it = needs({ programs: ['mke2fs', 'debugfs'] });

async function refusalOf(path: string): Promise<unknown> {
  await using device = await openRaw(path);
  return await openExt(device).catch((error: unknown) => error);
}

const wrong: [field: string, values: Values, mke2fs?: string][] = [
  ['s_magic', { s_magic: 0xef54 }],
  ['s_checksum_type', { s_checksum_type: 2 }],
  ['s_log_block_size', { s_log_block_size: 7 }],
  ['s_log_block_size', { s_log_block_size: 0xffff_ffff }],
  ['s_first_data_block', { s_first_data_block: 0 }],
  ['s_first_data_block', { s_first_data_block: 2 }],
  ['s_blocks_per_group', { s_blocks_per_group: 0 }],
  ['s_blocks_per_group', { s_blocks_per_group: 8193 }],
  ['s_blocks_per_group', { s_blocks_per_group: 8188 }],
  ['s_blocks_count_lo', { s_blocks_count_lo: 1 }],
  ['s_blocks_count', { s_blocks_count_hi: 0xffff_ffff }],
  ['s_inodes_per_group', { s_inodes_per_group: 0 }],
  ['s_inodes_per_group', { s_inodes_per_group: 8193 }],
  ['s_inodes_count', { s_inodes_count: 1 }],
  ['s_inode_size', { s_inode_size: 64 }],
  ['s_inode_size', { s_inode_size: 384 }],
  ['s_inode_size', { s_inode_size: 2048 }],
  ['s_desc_size', { s_desc_size: 32 }],
  ['s_desc_size', { s_desc_size: 96 }],
  ['s_desc_size', { s_desc_size: 2048 }],
  ['s_reserved_gdt_blocks', { s_reserved_gdt_blocks: 257 }],
  ['s_first_meta_bg', { s_first_meta_bg: 9 }, '-O meta_bg,^resize_inode'],
  ['s_blocks_count_hi', { s_blocks_count_hi: 1 }, '-O ^64bit'],
  ['s_mmp_block', { s_mmp_block: 0n }, '-O mmp'],
  ['s_mmp_block', { s_mmp_block: 1n << 40n }, '-O mmp'],
  ['s_log_cluster_size', { s_log_cluster_size: 0xffff_ffff }, '-O bigalloc -C 4096 -g 1024'],
  ['s_clusters_per_group', { s_clusters_per_group: 0 }, '-O bigalloc -C 4096 -g 1024'],
  ['s_clusters_per_group', { s_clusters_per_group: 8193 }, '-O bigalloc -C 4096 -g 1024'],
  ['s_blocks_per_group', { s_clusters_per_group: 512 }, '-O bigalloc -C 4096 -g 1024'],
];

describe('a field that makes no sense is refused by its name, though its checksum is right', () => {
  for (const [field, values, mke2fs = ''] of wrong) {
    const shown = Object.entries(values).map(([name, value]) => `${name} ${String(value)}`);
    it(`${shown.join(', ')} ${mke2fs}`, async () => {
      const { path } = await extImage({ mke2fs: `-t ext4 -b 1024 ${mke2fs}`, size: '8M', keep: true }, 0);
      await patchSuperblock(path, values);
      expect(await refusalOf(path)).toMatchObject({
        name: 'DiskError',
        code: field === 's_blocks_count' ? 'UNSUPPORTED' : 'CORRUPT',
        facts: { field, structure: 'ext4 superblock', offset: superblockOffset, device: path },
      });
    });
  }
});

it('any change without its checksum is refused as a wrong checksum', async () => {
  const { path } = await extImage({ mke2fs: '-t ext4 -b 1024', size: '8M', keep: true }, 0);
  const cases: Values[] = [{ s_free_blocks_count_lo: 1 }, { s_state: 0 }, { s_checksum: 1 }, { s_log_block_size: 3 }];
  for (const values of cases) {
    await copyFile(path, `${path}.copy`);
    await patch(`${path}.copy`, Number(superblockOffset), extSuperblock, values);
    expect(await refusalOf(`${path}.copy`)).toMatchObject({ code: 'CORRUPT', facts: { field: 's_checksum' } });
  }
});
