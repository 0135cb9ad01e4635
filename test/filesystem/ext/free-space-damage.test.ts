import { copyFile } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { crc16, rawCrc32c } from '../../../src/binary/crc.js';
import { viewOf } from '../../../src/binary/layout.js';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import {
  extGroup,
  extGroupHigh,
  extSuperblock,
  groupFlags,
  superblockOffset,
} from '../../../src/filesystem/ext/on-disk.js';
import { dumpe2fs, extImage } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { change } from '../../support/partition-image.js';
import { openRaw } from '../../support/raw-device.js';

type Values = Parameters<typeof extGroup.put>[1];
const it = needs({ programs: ['mke2fs', 'debugfs', 'dumpe2fs'] });
const blockSize = 1024;
const blocksPerGroup = 8192;

/** The three ways in which descriptors are vouched for, each with groups of 8 MiB. */
const shapes = {
  metadata_csum: '-t ext4 -b 1024',
  uninit_bg: '-t ext4 -b 1024 -O ^metadata_csum,uninit_bg',
  none: '-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg',
} as const;
type Shape = keyof typeof shapes;

const image = (shape: Shape, more = '', files = 40) => extImage({ mke2fs: `${shapes[shape]} ${more}` }, files);

async function bytesAt(path: string, offset: number, length: number): Promise<Uint8Array> {
  let found = new Uint8Array();
  await change(path, offset, length, (bytes) => {
    found = Uint8Array.from(bytes);
  });
  return found;
}

/** 64 with 64bit, which all of the shapes have. */
const descriptorSize = extGroup.size + extGroupHigh.size;
const descriptorOffset = (group: number) => 2 * blockSize + group * descriptorSize;

async function groupAt(path: string, group: number) {
  return extGroup.values(viewOf(await bytesAt(path, descriptorOffset(group), extGroup.size)));
}

async function patchGroup(path: string, shape: Shape, group: number, values: Values, seal = true): Promise<void> {
  const uuid = extSuperblock.at(viewOf(await bytesAt(path, Number(superblockOffset), extSuperblock.size))).s_uuid;
  const number = Uint8Array.of(group, 0, 0, 0);
  const { offset, size } = extGroup.fields.bg_checksum;
  await change(path, descriptorOffset(group), descriptorSize, (bytes) => {
    extGroup.put(viewOf(bytes), values);
    if (!seal || shape === 'none') return;
    const [before, after] = [bytes.subarray(0, offset), bytes.subarray(offset + size)];
    const checksum =
      shape === 'metadata_csum'
        ? [uuid, number, before, new Uint8Array(size), after].reduce((crc, part) => rawCrc32c(crc, part), 0xffff_ffff)
        : [uuid, number, before, after].reduce((crc, part) => crc16(crc, part), 0xffff);
    extGroup.put(viewOf(bytes), { bg_checksum: checksum & 0xffff });
  });
}

/** Changes the bitmap of a group, and its checksum with it. */
async function patchBitmap(path: string, shape: Shape, group: number, edit: (bitmap: Uint8Array) => void) {
  const uuid = extSuperblock.at(viewOf(await bytesAt(path, Number(superblockOffset), extSuperblock.size))).s_uuid;
  const { bg_block_bitmap_lo: block } = await groupAt(path, group);
  let checksum = 0;
  await change(path, block * blockSize, blockSize, (bitmap) => {
    edit(bitmap);
    checksum = rawCrc32c(rawCrc32c(0xffff_ffff, uuid), bitmap.subarray(0, blocksPerGroup / 8));
  });
  if (shape !== 'metadata_csum') return;
  await change(path, descriptorOffset(group) + extGroup.size, extGroupHigh.size, (bytes) => {
    extGroupHigh.put(viewOf(bytes), { bg_block_bitmap_csum_hi: checksum >>> 16 });
  });
  await patchGroup(path, shape, group, { bg_block_bitmap_csum_lo: checksum & 0xffff });
}

async function freeSpaceOf(path: string) {
  await using device = await openRaw(path);
  return await (await openExt(device)).freeSpace();
}

const shapeNames = Object.keys(shapes).filter((name): name is Shape => name in shapes);

describe('what a descriptor says wrongly is refused by the name of its field', () => {
  const cases: [field: string, values: Values, message?: string][] = [
    ['bg_block_bitmap', { bg_block_bitmap_lo: 0 }],
    ['bg_block_bitmap', { bg_block_bitmap_lo: 40 * 1024 }],
    ['bg_inode_bitmap', { bg_inode_bitmap_lo: 0xffff_ffff }],
    ['bg_inode_table', { bg_inode_table_lo: 40 * 1024 - 1 }],
    ['bg_free_blocks_count', { bg_free_blocks_count_lo: 1 }],
  ];
  for (const shape of shapeNames) {
    it(`with ${shape}`, async () => {
      const { path } = await image(shape);
      for (const [field, values] of cases) {
        await copyFile(path, `${path}.copy`);
        await patchGroup(`${path}.copy`, shape, 1, values);
        await expect(freeSpaceOf(`${path}.copy`)).rejects.toMatchObject({
          code: 'CORRUPT',
          facts: { field, structure: 'ext4 group descriptor 1', device: `${path}.copy` },
        });
        if (shape === 'none') continue;
        await copyFile(path, `${path}.copy`);
        await patchGroup(`${path}.copy`, shape, 1, values, false);
        await expect(freeSpaceOf(`${path}.copy`)).rejects.toMatchObject({
          code: 'CORRUPT',
          facts: { field: 'bg_checksum', structure: 'ext4 group descriptor 1' },
        });
      }
    });
  }
});

it('two groups that share a bitmap are refused', async () => {
  for (const shape of shapeNames) {
    const { path } = await image(shape);
    const { bg_block_bitmap_lo } = await groupAt(path, 3);
    await patchGroup(path, shape, 2, { bg_block_bitmap_lo });
    await expect(freeSpaceOf(path)).rejects.toMatchObject({
      code: 'CORRUPT',
      facts: { structure: 'ext4 group descriptors' },
    });
  }
});

it('without flex_bg, metadata outside of its group is refused', async () => {
  const { path } = await image('none', '-O ^flex_bg,^metadata_csum,^uninit_bg');
  await patchGroup(path, 'none', 1, { bg_inode_bitmap_lo: 2 * blocksPerGroup + 600 });
  await expect(freeSpaceOf(path)).rejects.toMatchObject({ code: 'CORRUPT', facts: { field: 'bg_inode_bitmap' } });
});

it('a bitmap with another checksum than its own is refused', async () => {
  const { path } = await image('metadata_csum');
  const { bg_block_bitmap_lo: block } = await groupAt(path, 0);
  await change(path, block * blockSize, blockSize, (bitmap) => bitmap.set([(bitmap[1000] ?? 0) ^ 1], 1000));
  await expect(freeSpaceOf(path)).rejects.toMatchObject({
    code: 'CORRUPT',
    facts: { field: 'bg_block_bitmap_csum', structure: 'ext4 block bitmap of group 0' },
  });
});

it('a bitmap that calls more free than its descriptor counts is refused', async () => {
  for (const shape of shapeNames) {
    const { path } = await image(shape);
    await patchBitmap(path, shape, 0, (bitmap) => bitmap.fill(0, 0, 8));
    await expect(freeSpaceOf(path)).rejects.toMatchObject({
      code: 'CORRUPT',
      facts: { field: 'bg_free_blocks_count', structure: 'ext4 group descriptor 0' },
    });
  }
});

it('a group that is said to be unwritten though its count tells of files in it is refused', async () => {
  const { path } = await image('uninit_bg');
  const { bg_flags, bg_free_blocks_count_lo } = await groupAt(path, 1);
  await patchGroup(path, 'uninit_bg', 1, {
    bg_flags: bg_flags | groupFlags.mask.BLOCK_UNINIT,
    bg_free_blocks_count_lo: bg_free_blocks_count_lo - 1,
  });
  await expect(freeSpaceOf(path)).rejects.toMatchObject({
    code: 'CORRUPT',
    facts: { field: 'bg_free_blocks_count', structure: 'ext4 group descriptor 1' },
  });
});

it('the flag of an unwritten bitmap counts for nothing without checksums', async () => {
  const { path } = await image('none');
  const before = [...(await freeSpaceOf(path))];
  for (const group of [0, 1, 2]) await patchGroup(path, 'none', group, { bg_flags: groupFlags.mask.BLOCK_UNINIT });
  expect([...(await freeSpaceOf(path))]).toEqual(before);
});

it('metadata is in use whatever a bitmap says that is consistent in all else', async () => {
  for (const shape of shapeNames) {
    const { path } = await image(shape, '', 200);
    const { free, backups } = await dumpe2fs(path);
    const backup = backups.find((block) => block === blocksPerGroup + 1);
    expect(backup).toBeDefined();
    // The superblock copy, descriptors and room for more of group 1.
    const clear = 64;
    const { bg_flags, bg_free_blocks_count_lo } = await groupAt(path, 1);
    // There are files in it: else its bitmap would not be read.
    expect(bg_flags & groupFlags.mask.BLOCK_UNINIT).toBe(0);
    await patchBitmap(path, shape, 1, (bitmap) => bitmap.fill(0, 0, clear / 8));
    await patchGroup(path, shape, 1, { bg_free_blocks_count_lo: bg_free_blocks_count_lo + clear });
    expect((await dumpe2fs(path)).free.total).toBe(free.total + BigInt(clear * blockSize));
    expect([...(await freeSpaceOf(path))]).toEqual([...free]);
  }
});
