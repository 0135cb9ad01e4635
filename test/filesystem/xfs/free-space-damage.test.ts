import { describe, expect } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import { crcWithout } from '../../../src/filesystem/xfs/checksum.js';
import { readGroup } from '../../../src/filesystem/xfs/group.js';
import { reverseMapping, sharedExtent, shortHeaderV5 } from '../../../src/filesystem/xfs/on-disk.js';
import { readSuperblock } from '../../../src/filesystem/xfs/superblock.js';
import { type GroupTree, treeBlocks } from '../../../src/filesystem/xfs/tree.js';
import { XfsVolume } from '../../../src/filesystem/xfs/volume.js';
import { openXfs } from '../../../src/filesystem/xfs/xfs.js';
import { needs } from '../../support/needs.js';
import { change } from '../../support/partition-image.js';
import { openRaw } from '../../support/raw-device.js';
import { emptyXfs, xfsImage } from '../../support/xfs-image.js';

/** Where the records of a leaf lie that has some, bytes from the start of the image. */
async function leafOf(path: string, tree: GroupTree) {
  await using device = await openRaw(path);
  const volume = new XfsVolume(device, await readSuperblock(device));
  for (let number = 0; number < volume.superblock.groupCount; number++) {
    const group = await readGroup(volume, number, {});
    const root = group.trees[tree];
    if (root === undefined) continue;
    for await (const { block, level, count, start } of treeBlocks(volume, group, tree, root, {})) {
      const offset = Number(volume.offsetOf(volume.blockOf(number, block)));
      if (level === 0 && count > 0) return { offset, start, count, group, size: volume.superblock.blockSize };
    }
  }
  throw new Error(`${path} has no leaf of ${tree}`);
}

/** Changes bytes of a block of a tree, and seals it again. */
async function changeBlock(path: string, offset: number, size: number, edit: (view: DataView) => void): Promise<void> {
  await change(path, offset, size, (block) => {
    edit(viewOf(block));
    const at = shortHeaderV5.fields.bb_crc.offset;
    viewOf(block).setUint32(at, crcWithout(block, at), true);
  });
}

async function freeOf(path: string) {
  await using device = await openRaw(path);
  return await (await openXfs(device)).freeSpace();
}

describe('free space of XFS is refused', () => {
  needs({ programs: ['mkfs.xfs'] })('when the reverse map says that somebody has it', async () => {
    const path = await emptyXfs('-m rmapbt=1', '64M');
    await freeOf(path);
    const { offset, size, start, count } = await leafOf(path, 'rmap');
    // The last is of the highest blocks in use: free space is behind it.
    const at = start + (count - 1) * reverseMapping.size;
    await changeBlock(path, offset, size, (view) => {
      const { rm_blockcount } = reverseMapping.at(view, at);
      reverseMapping.put(view, { rm_blockcount: rm_blockcount + 1 }, at);
    });
    await expect(freeOf(path)).rejects.toMatchObject({
      code: 'CORRUPT',
      facts: { structure: 'XFS free space of group 0' },
    });
  });

  needs({ programs: ['mkfs.xfs', 'mount', 'getfattr'], root: true })('when files are said to share it', async () => {
    const path = await xfsImage({ mkfs: '-m reflink=1,rmapbt=0', also: 'reflink' });
    const [leaf, free] = [await leafOf(path, 'refcount'), await freeOf(path)];
    const { number } = leaf.group;
    const first = await startOfFree(path, number, free);
    await changeBlock(path, leaf.offset, leaf.size, (view) => {
      sharedExtent.put(view, { rc_startblock: first, rc_blockcount: 1 }, leaf.start);
    });
    await expect(freeOf(path)).rejects.toMatchObject({
      code: 'CORRUPT',
      facts: { structure: `XFS free space of group ${number}` },
    });
  });
});

/** The first block of a group that is free, as the group numbers it. */
async function startOfFree(path: string, group: number, free: Awaited<ReturnType<typeof freeOf>>): Promise<number> {
  await using device = await openRaw(path);
  const volume = new XfsVolume(device, await readSuperblock(device));
  const start = volume.offsetOf(volume.blockOf(group, 0));
  const [first] = free.within(start, volume.offsetOf(volume.groupLength(group)));
  return Number(((first?.offset ?? 0n) - start) / BigInt(volume.superblock.blockSize));
}
