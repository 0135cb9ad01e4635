import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { openBtrfs } from '../../../src/filesystem/btrfs/btrfs.js';
import type { TreeNode } from '../../../src/filesystem/btrfs/node.js';
import {
  blockGroupItem,
  btrfsSuperblock,
  deviceExtent,
  extentItem,
  keyTypes,
  superblockOffsets,
  superblockSize,
  treeIds,
} from '../../../src/filesystem/btrfs/on-disk.js';
import { ownRoot } from '../../../src/filesystem/btrfs/roots.js';
import { readSuperblock } from '../../../src/filesystem/btrfs/superblock.js';
import { treeNodes } from '../../../src/filesystem/btrfs/tree.js';
import { BtrfsVolume } from '../../../src/filesystem/btrfs/volume.js';
import { emptyBtrfs, sealCrc32c } from '../../support/btrfs-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['mkfs.btrfs'] });

/** A change of the data of one item, whose key may be changed too. */
interface Change {
  readonly tree: bigint;
  /** The first item of this type is changed. */
  readonly type: number;
  readonly put: (data: Uint8Array, leaf: TreeNode, i: number) => void;
}

/** Changes an item, and makes the checksum of its leaf right again. */
async function changeItem(device: BlockDevice, { tree, type, put }: Change): Promise<void> {
  const volume = new BtrfsVolume(device, await readSuperblock(device));
  const root = tree === treeIds.chunk ? volume.superblock.chunkTree : await ownRoot(volume, tree, {});
  for await (const node of treeNodes(volume, root, {})) {
    for (let i = 0; node.level === 0 && i < node.count; i++) {
      if (node.key(i).type !== type) continue;
      put(node.data(i), node, i);
      sealCrc32c(node.bytes);
      await device.write(node.bytes, node.place.offset);
      return;
    }
  }
  throw new Error(`no item of type ${type}`);
}

const changes: Record<string, Change> = {
  'a block group that counts more than its extents': {
    tree: treeIds.extent,
    type: keyTypes.BLOCK_GROUP_ITEM,
    put: (data) => {
      const view = viewOf(data);
      blockGroupItem.put(view, { used: blockGroupItem.at(view).used + 4096n });
    },
  },
  'a block group of another kind than its chunk': {
    tree: treeIds.extent,
    type: keyTypes.BLOCK_GROUP_ITEM,
    put: (data) => blockGroupItem.put(viewOf(data), { flags: 4n }),
  },
  'an extent that is neither data nor a block of a tree': {
    tree: treeIds.extent,
    type: keyTypes.METADATA_ITEM,
    put: (data) => extentItem.put(viewOf(data), { flags: 0n }),
  },
  'an extent that nobody refers to': {
    tree: treeIds.extent,
    type: keyTypes.METADATA_ITEM,
    put: (data) => extentItem.put(viewOf(data), { refs: 0n }),
  },
  'a device extent of another length than its chunk': {
    tree: treeIds.device,
    type: keyTypes.DEV_EXTENT,
    put: (data) => deviceExtent.put(viewOf(data), { length: 1n << 20n }),
  },
  'a device extent of another chunk': {
    tree: treeIds.device,
    type: keyTypes.DEV_EXTENT,
    put: (data) => deviceExtent.put(viewOf(data), { chunk_offset: 1n << 40n }),
  },
  'a free space tree that calls less free than the extent tree': {
    tree: treeIds.freeSpace,
    type: keyTypes.FREE_SPACE_EXTENT,
    put: (_, leaf, i) => {
      const at = 0x65 + i * 25 + 9;
      leaf.view.setBigUint64(at, leaf.view.getBigUint64(at, true) - 4096n, true);
    },
  },
  'a free space tree that calls more free than the extent tree': {
    tree: treeIds.freeSpace,
    type: keyTypes.FREE_SPACE_EXTENT,
    put: (_, leaf, i) => {
      const at = 0x65 + i * 25;
      leaf.view.setBigUint64(at, leaf.view.getBigUint64(at, true) - 4096n, true);
    },
  },
};

async function copyOf(path: string): Promise<BlockDevice> {
  const copy = join(await temporaryFolder(), 'copy.img');
  await copyFile(path, copy);
  const device = await openRaw(copy, { writable: true });
  onTestFinished(() => device.close());
  return device;
}

describe('nothing is free of a btrfs filesystem with', () => {
  for (const [name, change] of Object.entries(changes)) {
    it(name, async () => {
      const device = await copyOf(await emptyBtrfs('-m single', '128M'));
      expect((await (await openBtrfs(device)).freeSpace()).count).toBeGreaterThan(1);
      await changeItem(device, change);
      await expect((await openBtrfs(device)).freeSpace()).rejects.toMatchObject({ code: 'CORRUPT' });
    });
  }

  it('a superblock that counts less than its extents', async () => {
    const device = await copyOf(await emptyBtrfs('-m single', '128M'));
    const [primary = 0n] = superblockOffsets;
    const bytes = new Uint8Array(superblockSize);
    await device.read(bytes, primary);
    btrfsSuperblock.put(viewOf(bytes), { bytes_used: btrfsSuperblock.at(viewOf(bytes)).bytes_used - 4096n });
    sealCrc32c(bytes);
    await device.write(bytes, primary);
    await expect((await openBtrfs(device)).freeSpace()).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('an extent tree that does not hold a block of the root tree', async () => {
    const device = await copyOf(await emptyBtrfs('-m single', '128M'));
    const { rootTree } = await readSuperblock(device);
    await changeItem(device, {
      tree: treeIds.extent,
      type: keyTypes.METADATA_ITEM,
      put: (_, leaf) => {
        // Its place goes to a neighbour that is free: all counts stay right.
        for (let i = 0; i < leaf.count; i++) {
          const at = 0x65 + i * 25;
          if (leaf.key(i).type !== keyTypes.METADATA_ITEM || leaf.key(i).objectid !== rootTree.block) continue;
          leaf.view.setBigUint64(at, rootTree.block + 4096n, true);
        }
      },
    });
    await expect((await openBtrfs(device)).freeSpace()).rejects.toMatchObject({ code: 'CORRUPT' });
  });
});
