import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { extent, extentHeader, extentIndex, extInode } from '../../../src/filesystem/ext/file-on-disk.js';
import { debugfs } from '../../support/ext-image.js';
import { changeBytes, type Places, patchInode, placesOf, startOf } from '../../support/ext-places.js';
import { needs } from '../../support/needs.js';
import { attempt, run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['mke2fs', 'debugfs', 'e2fsck'] });

const plain = '-t ext4 -b 1024 -O ^metadata_csum,^metadata_csum_seed,^has_journal';
const summed = '-t ext4 -b 1024 -O ^has_journal';
const mapped = '-t ext2 -b 1024';

/** Images by their options: each is made once, and damaged in copies. */
const images = new Map<string, Promise<Uint8Array>>();

async function made(mke2fs: string): Promise<BlockDevice> {
  const image = images.get(mke2fs) ?? make(mke2fs);
  images.set(mke2fs, image);
  const bytes = await image;
  const device = memoryDevice(BigInt(bytes.length), 'ext in memory');
  await device.write(bytes, 0n);
  return device;
}

/** /d with two files and a folder, /many with an index, /pieces of many extents, /link, /far with blocks of three levels. */
async function make(mke2fs: string): Promise<Uint8Array> {
  const folder = await temporaryFolder();
  const [root, path] = [join(folder, 'root'), join(folder, 'ext.img')];
  for (const made of ['d/inner', 'many']) mkdirSync(join(root, made), { recursive: true });
  for (const name of ['d/aaaa', 'd/bbbb', 'd/inner/file']) writeFileSync(join(root, name), name);
  for (let i = 0; i < 300; i++) writeFileSync(join(root, 'many', `a name that takes some room ${i}`), '');
  symlinkSync('x'.repeat(100), join(root, 'link'));
  writeFileSync(join(root, 'far'), 'near');
  truncateSync(join(root, 'far'), 100 << 20);
  writeFileSync(join(root, 'pieces'), '');
  await run('mke2fs', ['-Fq', ...mke2fs.split(' '), '-d', root, path, '16M']);
  // debugfs writes nodes of a tree for many extents, and blocks of a map for a block that is far off.
  const pieces = Array.from({ length: 20 }, (_, i) => `fallocate /pieces ${i * 4} ${i * 4}`);
  const far = mke2fs === mapped ? ['fallocate /far 70000 70001'] : [];
  await debugfs(path, ...pieces, 'sif /pieces size 81920', ...far, `ea_set /d/aaaa user.note ${'value'.repeat(100)}`);
  // e2fsck -D gives a large directory an index; its status 1 says that it did something.
  await attempt('e2fsck', ['-fyD', path]);
  return readFileSync(path);
}

/** Reads all there is of everything. */
async function readAll(device: BlockDevice): Promise<string[]> {
  const paths: string[] = [];
  for await (const { path, file } of (await openExt(device)).walk()) {
    paths.push(path.toString());
    await file.xattrs();
    for await (const _ of file.fileMap());
    if (file.type === 'symlink') await file.linkTarget();
  }
  return paths;
}

async function expectRefusal(device: BlockDevice, field: string): Promise<void> {
  await expect(readAll(device), field).rejects.toMatchObject({ code: 'CORRUPT', facts: { field } });
}

it('reads the image that is to be damaged', async () => {
  for (const mke2fs of [plain, summed, mapped]) {
    await using device = await made(mke2fs);
    expect((await readAll(device)).length, mke2fs).toBe(300 + 11);
  }
});

/** Replaces the entry of a name in a directory's first block. */
async function patchEntry(
  device: BlockDevice,
  directory: string,
  name: string,
  change: (entry: Buffer) => void,
): Promise<void> {
  const at = startOf(await placesOf(device, directory), 'content');
  await changeBytes(device, at, 1024, (block) => {
    const place = block.indexOf(name);
    if (place === -1) throw new Error(`there is no ${name}`);
    change(block.subarray(place - 8));
  });
}

describe('an entry of a directory is refused', () => {
  const cases: Record<string, { field: string; change: (entry: Buffer) => void }> = {
    'that has no length': { field: 'rec_len', change: (entry) => entry.writeUInt16LE(0, 4) },
    'whose length is no multiple of four': { field: 'rec_len', change: (entry) => entry.writeUInt16LE(13, 4) },
    'whose name passes it': { field: 'rec_len', change: (entry) => entry.writeUInt8(9, 6) },
    'that passes its block': { field: 'rec_len', change: (entry) => entry.writeUInt16LE(2048, 4) },
    'without a name': { field: 'name_len', change: (entry) => entry.writeUInt8(0, 6) },
    'with a slash in its name': { field: 'name', change: (entry) => entry.write('../x', 8) },
    'with a NUL in its name': { field: 'name', change: (entry) => entry.write('a\0aa', 8) },
    'of the name ".."': {
      field: 'name',
      change: (entry) => {
        entry.writeUInt8(2, 6);
        entry.write('..', 8);
      },
    },
    'of an inode that is not there': { field: 'its number', change: (entry) => entry.writeUInt32LE(1_000_000, 0) },
    'of an inode that is free': { field: 'i_mode', change: (entry) => entry.writeUInt32LE(1000, 0) },
    "of an inode that is the filesystem's own": {
      field: 'inode of "aaaa"',
      change: (entry) => entry.writeUInt32LE(7, 0),
    },
    'of the root': { field: 'inode of "aaaa"', change: (entry) => entry.writeUInt32LE(2, 0) },
  };
  for (const [what, { field, change }] of Object.entries(cases)) {
    it(what, async () => {
      await using device = await made(plain);
      await patchEntry(device, '/d', 'aaaa', change);
      await expectRefusal(device, field);
    });
  }
});

describe('a directory is refused', () => {
  it('that has two names', async () => {
    await using device = await made(plain);
    const { number } = await placesOf(device, '/many');
    await patchEntry(device, '/d', 'aaaa', (entry) => entry.writeUInt32LE(number, 0));
    await expectRefusal(device, 'inode');
  });

  it('that lies in itself', async () => {
    await using device = await made(plain);
    const { number } = await placesOf(device, '/d');
    await patchEntry(device, '/d/inner', 'file', (entry) => entry.writeUInt32LE(number, 0));
    await expectRefusal(device, 'inode');
  });

  it('whose first entry is not itself', async () => {
    await using device = await made(plain);
    await changeBytes(device, startOf(await placesOf(device, '/d'), 'content'), 8, (entry) =>
      entry.writeUInt32LE(2, 0),
    );
    await expectRefusal(device, 'its first entry');
  });

  it('whose size is no multiple of blocks, or more than it has', async () => {
    await using device = await made(plain);
    const places = await placesOf(device, '/d');
    for (const [size, field] of [
      [1000, 'i_size'],
      [0, 'i_size'],
      [2048, 'blocks of the directory'],
      [0xffff_fc00, 'blocks of the directory'],
    ] as const) {
      await patchInode(device, places, { i_size_lo: size });
      await expectRefusal(device, field);
    }
  });
});

describe('an extent tree is refused', () => {
  type Change = (view: DataView) => void;
  const header =
    (values: Parameters<typeof extentHeader.put>[1]): Change =>
    (view) =>
      extentHeader.put(view, values);
  const first =
    (values: Parameters<typeof extent.put>[1]): Change =>
    (view) =>
      extent.put(view, values, extentHeader.size);
  const cases: Record<string, { field: string; change: Change; in?: 'inode' }> = {
    'without its magic': { field: 'eh_magic', change: header({ eh_magic: 0xf30b }) },
    'whose node is of another depth': { field: 'eh_depth', change: header({ eh_depth: 1 }) },
    'that is too deep': { field: 'eh_depth', change: header({ eh_depth: 6 }), in: 'inode' },
    'with more entries than room': { field: 'eh_entries', change: header({ eh_entries: 100 }) },
    'with more room than a block has': { field: 'eh_max', change: header({ eh_max: 200 }) },
    'with an inner node without entries': { field: 'eh_entries', change: header({ eh_entries: 0 }), in: 'inode' },
    'with an extent of no blocks': { field: 'ee_len', change: first({ ee_len: 0 }) },
    'with extents that overlap': { field: 'ee_block', change: first({ ee_len: 1000 }) },
    'with an extent past the end': { field: 'ee_start', change: first({ ee_start_lo: 0x00ff_ffff }) },
    'with an extent before the first block': { field: 'ee_start', change: first({ ee_start_lo: 0 }) },
    'with a node past the end': {
      field: 'ei_leaf',
      change: (view) => view.setUint32(extentHeader.size + 4, 0x00ff_ffff, true),
      in: 'inode',
    },
  };
  for (const [what, { field, change, in: where }] of Object.entries(cases)) {
    it(what, async () => {
      await using device = await made(plain);
      const places = await placesOf(device, '/pieces');
      const root = places.inode + extInode.fields.i_block.offset;
      const [at, length] = where === 'inode' ? [root, 60] : [startOf(places, 'metadata'), 1024];
      await changeBytes(device, at, length, (bytes) => change(viewOf(bytes)));
      await expectRefusal(device, field);
    });
  }
});

describe('more blocks than the filesystem has are refused', () => {
  it('of a file that names the same ones again and again', async () => {
    await using device = await made(plain);
    const places = await placesOf(device, '/pieces');
    await changeBytes(device, startOf(places, 'metadata'), 1024, (bytes) => {
      const view = viewOf(bytes);
      const { eh_entries: count } = extentHeader.at(view);
      for (let i = 0; i < count; i++) {
        const again = { ee_block: i * 8192, ee_len: 8192, ee_start_hi: 0, ee_start_lo: 100 };
        extent.put(view, again, extentHeader.size + i * extent.size);
      }
    });
    await expectRefusal(device, 'its blocks');
  });

  it('of a map that leads to the same node again and again', async () => {
    await using device = await made(plain);
    const places = await placesOf(device, '/pieces');
    // Free blocks at the end: nodes above, each of which names one empty leaf 80 times.
    const [leaf, nodes] = [16_383, 400];
    const node = (block: number, depth: number, count: number, entry: (i: number) => [start: number, block: number]) =>
      changeBytes(device, block * 1024, 1024, (bytes) => {
        const view = viewOf(bytes);
        extentHeader.put(view, { eh_magic: 0xf30a, eh_entries: count, eh_max: 84, eh_depth: depth });
        for (let i = 0; i < count; i++) {
          const [ei_block, ei_leaf_lo] = entry(i);
          extentIndex.put(view, { ei_block, ei_leaf_lo, ei_leaf_hi: 0 }, extentHeader.size + i * extentIndex.size);
        }
      });
    await node(leaf, 0, 0, () => [0, 0]);
    const [top, span] = [leaf - 1, 80 * 80];
    for (let n = 0; n < nodes; n++) {
      const [middle, low] = [Math.floor(n / 80), n % 80];
      await node(15_000 + n, 1, 80, (i) => [middle * span + low * 80 + i, leaf]);
    }
    for (let m = 0; m < nodes / 80; m++) {
      await node(15_500 + m, 2, 80, (i) => [m * span + i * 80, 15_000 + m * 80 + i]);
    }
    await node(top, 3, nodes / 80, (i) => [i * span, 15_500 + i]);
    await changeBytes(device, places.inode + extInode.fields.i_block.offset, 60, (bytes) => {
      const view = viewOf(bytes);
      extentHeader.put(view, { eh_magic: 0xf30a, eh_entries: 1, eh_max: 4, eh_depth: 4 });
      extentIndex.put(view, { ei_block: 0, ei_leaf_lo: top, ei_leaf_hi: 0 }, extentHeader.size);
    });
    await expectRefusal(device, 'its blocks');
  });
});

describe('a block map is refused', () => {
  const cases: Record<string, (map: Buffer, places: Places) => void> = {
    'that names a block past the end': (map) => map.writeUInt32LE(0x7fff_ffff, 0),
    'that names the superblock': (map) => map.writeUInt32LE(1, 0),
    'that reads one block of its map twice': (map, places) => {
      const double = places.map.find(({ role }) => role === 'metadata');
      map.writeUInt32LE(Number(double?.offset) / 1024, 12 * 4);
    },
  };
  for (const [what, change] of Object.entries(cases)) {
    it(what, async () => {
      await using device = await made(mapped);
      const places = await placesOf(device, '/far');
      expect(places.map.filter(({ role }) => role === 'metadata').length).toBeGreaterThan(2);
      const at = places.inode + extInode.fields.i_block.offset;
      await changeBytes(device, at, 60, (map) => change(map, places));
      await expectRefusal(device, 'i_block');
    });
  }
});

describe('a checksum that is wrong is refused', () => {
  const flip = (device: BlockDevice, at: number) =>
    changeBytes(device, at, 1, (bytes) => bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0));
  const cases: Record<string, { field: string; at: (device: BlockDevice) => Promise<number> }> = {
    'of an inode': { field: 'i_checksum', at: async (device) => (await placesOf(device, '/link')).inode + 8 },
    'of a block of entries': {
      field: 'det_checksum',
      at: async (device) => startOf(await placesOf(device, '/d'), 'content') + 500,
    },
    'of an index': {
      field: 'dt_checksum',
      at: async (device) => startOf(await placesOf(device, '/many'), 'content') + 40,
    },
    'of a node of an extent tree': {
      field: 'et_checksum',
      at: async (device) => startOf(await placesOf(device, '/pieces'), 'metadata') + 20,
    },
    'of extended attributes': {
      field: 'h_checksum',
      at: async (device) => startOf(await placesOf(device, '/d/aaaa'), 'metadata') + 1000,
    },
  };
  for (const [what, { field, at }] of Object.entries(cases)) {
    it(what, async () => {
      await using device = await made(summed);
      await flip(device, await at(device));
      await expectRefusal(device, field);
    });
  }
});

it('a size that no file can have is refused', async () => {
  await using device = await made(summed);
  await patchInode(device, await placesOf(device, '/d/aaaa'), { i_size_high: 0x7fff_ffff });
  await expectRefusal(device, 'i_size');
});
