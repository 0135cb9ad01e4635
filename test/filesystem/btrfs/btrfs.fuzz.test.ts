import fc from 'fast-check';
import { expect } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { StatsLayer } from '../../../src/device/layer/stats.js';
import { openBtrfs } from '../../../src/filesystem/btrfs/btrfs.js';
import { directoryItem, fileExtent, fileExtentHead, inodeItem } from '../../../src/filesystem/btrfs/file-on-disk.js';
import { readFreeSpace } from '../../../src/filesystem/btrfs/free-space.js';
import {
  blockGroupItem,
  btrfsSuperblock,
  chunkItem,
  chunkStripe,
  deviceExtent,
  deviceItem,
  diskKey,
  extentItem,
  keyTypes,
  leafItem,
  nodeHeader,
  nodePointer,
  reservedStart,
  rootItem,
  superblockOffsets,
  superblockSize,
} from '../../../src/filesystem/btrfs/on-disk.js';
import { readSuperblock } from '../../../src/filesystem/btrfs/superblock.js';
import { BtrfsVolume } from '../../../src/filesystem/btrfs/volume.js';
import { answer, readFile } from '../../support/attack.js';
import { sealCrc32c, tinyBtrfs } from '../../support/btrfs-image.js';
import { inMemory } from '../../support/ext-memory.js';
import { fieldChange, type Structure } from '../../support/field-changes.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';

/** Bytes with one checksum: where they lie on the device, and in a copy of all of them. */
interface Block {
  readonly at: bigint;
  readonly base: number;
  readonly size: number;
}

/** What the data of an item begin with, by the type of its key. */
const layouts: Readonly<Record<number, readonly Structure['layout'][]>> = {
  [keyTypes.INODE_ITEM]: [inodeItem],
  [keyTypes.XATTR_ITEM]: [directoryItem],
  [keyTypes.DIR_ITEM]: [directoryItem],
  [keyTypes.DIR_INDEX]: [directoryItem],
  [keyTypes.EXTENT_DATA]: [fileExtentHead, fileExtent],
  [keyTypes.ROOT_ITEM]: [rootItem],
  [keyTypes.EXTENT_ITEM]: [extentItem],
  [keyTypes.METADATA_ITEM]: [extentItem],
  [keyTypes.BLOCK_GROUP_ITEM]: [blockGroupItem],
  [keyTypes.DEV_EXTENT]: [deviceExtent],
  [keyTypes.DEV_ITEM]: [deviceItem],
  [keyTypes.CHUNK_ITEM]: [chunkItem],
};

/** The superblock and every block of a tree, one behind the other. */
async function blocksOf(path: string): Promise<{ blocks: readonly Block[]; bytes: Buffer }> {
  await using device = await openRaw(path);
  const { nodeSize } = await readSuperblock(device);
  const [primary = 0n] = superblockOffsets;
  const places = [{ at: primary, size: superblockSize }];
  for await (const { kind, offset, length } of (await openBtrfs(device)).metadata()) {
    for (let at = 0n; kind === 'tree' && at < length; at += BigInt(nodeSize)) {
      places.push({ at: offset + at, size: nodeSize });
    }
  }
  const blocks = places.map((place, i) => ({
    ...place,
    base: places.slice(0, i).reduce((sum, { size }) => sum + size, 0),
  }));
  const bytes = Buffer.alloc(blocks.reduce((sum, { size }) => sum + size, 0));
  for (const { at, base, size } of blocks) await device.read(bytes.subarray(base, base + size), at);
  return { blocks, bytes };
}

/** Every field that a reader goes by. */
function structuresOf(blocks: readonly Block[], bytes: Buffer): Structure[] {
  return blocks.flatMap(({ base, size }, i): Structure[] => {
    if (i === 0) {
      const { dev_item, sys_chunk_array } = btrfsSuperblock.fields;
      const chunk = base + sys_chunk_array.offset + diskKey.size;
      return [
        { layout: btrfsSuperblock, base },
        { layout: deviceItem, base: base + dev_item.offset },
        { layout: chunkItem, base: chunk },
        { layout: chunkStripe, base: chunk + chunkItem.size },
      ];
    }
    const view = viewOf(bytes.subarray(base, base + size));
    const { level, nritems } = nodeHeader.at(view);
    const head: Structure = { layout: nodeHeader, base };
    const step = level === 0 ? leafItem : nodePointer;
    const items = Array.from({ length: nritems }, (_, item): Structure[] => {
      const at = nodeHeader.size + item * step.size;
      const found: Structure[] = [
        { layout: step, base: base + at },
        { layout: diskKey, base: base + at },
      ];
      if (level > 0) return found;
      const { offset, size: length } = leafItem.at(view, at);
      const data = base + nodeHeader.size + offset;
      const { type } = diskKey.at(view, at);
      const fitting = (layouts[type] ?? []).filter((layout) => {
        const ends = Object.values(layout.fields).map((field) => field.offset + field.size);
        return Math.max(...ends) <= length;
      });
      return [...found, ...fitting.map((layout) => ({ layout, base: data }))];
    });
    return [head, ...items.flat()];
  });
}

const junk = fc.oneof(
  fc.constantFrom([0], [1], [0x7f], [0x80], [0xff], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0]),
  fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }),
);

/** Requests that reading a whole image of this kind takes at most, whatever is changed in it: see that none leads on and on. */
const mostRequests = 2000;

async function fuzz(make: () => Promise<string>, runs: number): Promise<void> {
  const path = await make();
  const { blocks, bytes: good } = await blocksOf(path);
  await using small = await openRaw(path);
  await using device = await inMemory(path, small.facts.size);
  const field = fieldChange(structuresOf(blocks, good)).map(({ apply }) => apply);
  const raw = fc.tuple(fc.nat(good.length - 8), junk).map(
    ([at, bytes]) =>
      (image: Uint8Array) =>
        image.set(bytes, at),
  );
  const changes = fc.array(fc.oneof({ arbitrary: field, weight: 3 }, { arbitrary: raw, weight: 1 }), {
    minLength: 1,
    maxLength: 3,
  });
  let answers = 0;
  await fc.assert(
    fc.asyncProperty(changes, fc.constantFrom(true, true, true, false), async (list, sealed) => {
      const bad = Buffer.from(good);
      for (const apply of list) apply(bad);
      const changed = blocks.filter(({ base, size }) => good.compare(bad, base, base + size, base, base + size) !== 0);
      for (const { at, base, size } of changed) {
        const block = bad.subarray(base, base + size);
        if (sealed) sealCrc32c(block);
        await device.write(block, at);
      }
      try {
        answers += await attack(device);
      } finally {
        for (const { at, base, size } of changed) await device.write(good.subarray(base, base + size), at);
      }
    }),
    { numRuns: runs, seed: 1 },
  );
  // Else every change would have been refused at the door.
  expect(answers).toBeGreaterThan(runs / 10);
}

/** @returns how many questions about free space were answered */
async function attack(device: BlockDevice): Promise<number> {
  const counted = new StatsLayer(device);
  let answers = 0;
  await answer(async () => {
    for await (const { file } of (await openBtrfs(counted)).walk()) await readFile(file);
  });
  await answer(async () => {
    for await (const { length } of (await openBtrfs(counted)).metadata()) expect(length).toBeGreaterThan(0n);
  });
  await answer(async () => {
    // Whatever its state.
    const volume = new BtrfsVolume(counted, await readSuperblock(counted));
    for (const { offset, length } of await readFreeSpace(volume, {})) {
      expect(offset).toBeGreaterThanOrEqual(reservedStart);
      expect(offset + length).toBeLessThanOrEqual(volume.superblock.device.totalBytes);
    }
    answers++;
  });
  expect(counted.stats.get('read')?.requests ?? 0).toBeLessThan(mostRequests);
  return answers;
}

const programs = ['mkfs.btrfs', 'btrfs', 'mount', 'fallocate', 'setfattr'] as const;
for (const compression of ['lzo', 'zlib', 'zstd']) {
  const make = () => tinyBtrfs(`compress-force=${compression}`);
  needs({ programs, root: true, slow: compression !== 'lzo' })(
    `500 changes of btrfs with ${compression} end in an answer or a DiskError`,
    () => fuzz(make, 500),
    120_000,
  );
  needs({ programs, root: true, nightly: true })(
    `10000 changes of btrfs with ${compression} end in an answer or a DiskError`,
    () => fuzz(make, 10_000),
    1_800_000,
  );
}
