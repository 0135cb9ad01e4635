import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { StatsLayer } from '../../../src/device/layer/stats.js';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { answer, readFile } from '../../support/attack.js';
import { debugfs } from '../../support/ext-image.js';
import { inMemory } from '../../support/ext-memory.js';
import { placesOf } from '../../support/ext-places.js';
import { needs } from '../../support/needs.js';
import { attempt, run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

/** Shapes in which no checksum stands before what a changed byte does, and one in which they mostly do. */
const shapes = [
  '-t ext4 -b 1024 -O ^metadata_csum,^metadata_csum_seed,^has_journal,inline_data,ea_inode,large_dir',
  '-t ext4 -b 1024 -O ^metadata_csum,^metadata_csum_seed,^has_journal,casefold,encrypt',
  '-t ext2 -b 1024',
  '-t ext4 -b 1024 -O ^has_journal',
];

/** An image with one of everything, and the bytes of it that are structures of files. */
async function make(mke2fs: string): Promise<{ path: string; places: readonly number[] }> {
  const folder = await temporaryFolder();
  const [root, path] = [join(folder, 'root'), join(folder, 'ext.img')];
  for (const made of ['d/inner', 'many']) mkdirSync(join(root, made), { recursive: true });
  for (const name of ['d/aaaa', 'd/bbbb', 'd/inner/file']) writeFileSync(join(root, name), name);
  writeFileSync(join(root, 'd', 'large'), Buffer.alloc(5000, 'large'));
  for (let i = 0; i < 40; i++) writeFileSync(join(root, 'many', `a name that takes some room ${i}`), '');
  symlinkSync('x'.repeat(100), join(root, 'slow'));
  symlinkSync('short', join(root, 'fast'));
  writeFileSync(join(root, 'far'), 'near');
  truncateSync(join(root, 'far'), 100 << 20);
  writeFileSync(join(root, 'pieces'), '');
  await run('mke2fs', ['-Fq', ...mke2fs.split(' '), '-d', root, path, '8M']);
  const pieces = Array.from({ length: 20 }, (_, i) => `fallocate /pieces ${i * 4} ${i * 4}`);
  const far = mke2fs.includes('ext2') ? ['fallocate /far 70000 70001'] : [];
  const values = ['ea_set /d/aaaa user.note short', `ea_set /d/bbbb user.long ${'value'.repeat(120)}`];
  await debugfs(path, ...pieces, 'sif /pieces size 81920', ...far, ...values);
  await attempt('e2fsck', ['-fyD', path]);
  return { path, places: await structures(path) };
}

async function structures(path: string): Promise<readonly number[]> {
  // The superblock, up to where most of its fields end.
  const places = Array.from({ length: 0x280 }, (_, at) => 1024 + at);
  await using device = await inMemory(path, BigInt(readFileSync(path).length));
  for await (const { path: name, file } of (await openExt(device)).walk()) {
    const { inode, inodeSize, map } = await placesOf(device, name.toString());
    // Fields at the start count for more than what is mostly zeros.
    for (let i = 0; i < 4; i++) places.push(...Array.from({ length: 160 }, (_, at) => inode + at));
    places.push(...Array.from({ length: inodeSize }, (_, at) => inode + at));
    for (const { role, offset, length, inline } of map) {
      if (inline || (role === 'content' && file.type !== 'directory')) continue;
      places.push(...Array.from({ length: Number(length) }, (_, at) => Number(offset) + at));
    }
  }
  return places;
}

interface Mutation {
  readonly place: number;
  readonly bytes: Uint8Array;
}

const bytes = fc.oneof(
  fc.constantFrom([0], [1], [0x7f], [0x80], [0xff], [0, 0], [0xff, 0xff], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0]),
  fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }),
);
const mutations: fc.Arbitrary<readonly Mutation[]> = fc.array(
  fc.record({ place: fc.nat(), bytes: bytes.map((list) => Uint8Array.from(list)) }),
  { minLength: 1, maxLength: 4 },
);

/** Requests that reading a whole image of this kind takes at most, whatever is changed in it: see that none leads on and on. */
const mostRequests = 5000;

async function attack(device: BlockDevice, places: readonly number[], changes: readonly Mutation[]): Promise<void> {
  const saved: { at: bigint; good: Uint8Array }[] = [];
  for (const { place, bytes } of changes) {
    const at = BigInt(places[place % places.length] ?? 0);
    const good = new Uint8Array(bytes.length);
    await device.read(good, at);
    saved.push({ at, good });
    await device.write(bytes, at);
  }
  const counted = new StatsLayer(device);
  try {
    await answer(async () => {
      for await (const { file } of (await openExt(counted)).walk()) await readFile(file);
    });
    await answer(async () => {
      for await (const { length } of (await openExt(counted)).metadata()) expect(length).toBeGreaterThan(0n);
    });
    expect(counted.stats.get('read')?.requests ?? 0).toBeLessThan(mostRequests);
  } finally {
    for (const { at, good } of saved.reverse()) await device.write(good, at);
  }
}

async function fuzz(numRuns: number): Promise<void> {
  for (const mke2fs of shapes) {
    const { path, places } = await make(mke2fs);
    // On a device without an end, only the parser itself can bound what it does.
    await using device = await inMemory(path, 2n ** 60n);
    await fc.assert(
      fc.asyncProperty(mutations, (changes) => attack(device, places, changes)),
      { numRuns: numRuns / shapes.length, seed: 1 },
    );
  }
}

const programs = ['mke2fs', 'debugfs', 'e2fsck'] as const;

needs({ programs })('500 changed images end in files or a DiskError', () => fuzz(500), 60_000);
needs({ programs, nightly: true })('20000 changed images end in files or a DiskError', () => fuzz(20_000), 1_800_000);
