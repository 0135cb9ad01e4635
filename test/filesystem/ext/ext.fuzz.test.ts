import fc from 'fast-check';
import { expect } from 'vitest';
import type { Range } from '../../../src/binary/range-set.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { DiskError } from '../../../src/error/disk-error.js';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { readFreeSpace } from '../../../src/filesystem/ext/free-space.js';
import { readSuperblock } from '../../../src/filesystem/ext/superblock.js';
import { extImage } from '../../support/ext-image.js';
import { inMemory, sealBytes } from '../../support/ext-memory.js';
import { needs } from '../../support/needs.js';

/** Shapes in which a changed byte is not already caught by a checksum, and one in which it mostly is. */
const shapes = [
  '-t ext4 -b 1024 -g 1024 -O ^metadata_csum,^uninit_bg',
  '-t ext4 -b 1024 -g 1024 -G 4 -N 512 -O meta_bg,^resize_inode,^metadata_csum,^uninit_bg',
  '-t ext4 -b 1024 -O bigalloc,^metadata_csum,^uninit_bg -C 4096 -g 1024',
  '-t ext4 -b 1024 -g 1024',
];

/** Bytes that hold the superblock, and those that hold descriptors and bitmaps in every one of the shapes. */
const superblock = { start: 1024, size: 1024 };
const others = { start: 2048, size: 128 * 1024 };

interface Mutation {
  readonly at: number;
  readonly bytes: Uint8Array;
  readonly sealed: boolean;
}

const value = fc.oneof(
  fc.constantFrom([0], [1], [0x7f], [0x80], [0xff], [0xff, 0xff], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0], [0, 0, 0, 1]),
  fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }),
);
const place = fc.oneof(
  fc.nat(superblock.size - 9).map((at) => superblock.start + at),
  // Where most fields of the superblock are.
  fc.nat(0x180).map((at) => superblock.start + at),
  fc.nat(others.size - 9).map((at) => others.start + at),
  fc.nat(4095).map((at) => others.start + at),
);
const mutation: fc.Arbitrary<Mutation> = fc
  .tuple(place, value, fc.boolean())
  .map(([at, bytes, sealed]) => ({ at, bytes: Uint8Array.from(bytes), sealed }));

/** What may come of any bytes: an answer, or a refusal of ours. */
async function answer(work: () => Promise<Iterable<Range>>): Promise<void> {
  let found: Iterable<Range>;
  try {
    found = await work();
  } catch (error) {
    if (error instanceof DiskError) return;
    throw error;
  }
  for (const { offset } of found) expect(offset).toBeGreaterThanOrEqual(2048n);
}

async function attack(device: BlockDevice, mutations: readonly Mutation[]): Promise<void> {
  const end = others.start + others.size;
  const good = new Uint8Array(end);
  await device.read(good, 0n);
  const bad = Uint8Array.from(good);
  for (const { at, bytes } of mutations) bad.set(bytes, at);
  if (mutations.some(({ sealed }) => sealed))
    sealBytes(bad.subarray(superblock.start, superblock.start + superblock.size));
  await device.write(bad, 0n);
  try {
    await answer(async () => await (await openExt(device)).freeSpace());
    // The state stands in the way of most: the rest must stand without it.
    await answer(async () => await readFreeSpace(device, await readSuperblock(device), {}));
  } finally {
    await device.write(good, 0n);
  }
}

async function fuzz(numRuns: number): Promise<void> {
  for (const mke2fs of shapes) {
    const { path } = await extImage({ mke2fs, size: '8M' }, 20);
    // On a device without an end, only the parser itself can bound what it does.
    await using device = await inMemory(path, 2n ** 60n);
    expect((await (await openExt(device)).freeSpace()).count).toBeGreaterThan(3);
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => attack(device, mutations)),
      { numRuns: numRuns / shapes.length, seed: 1 },
    );
  }
}

const programs = ['mke2fs', 'debugfs'] as const;

needs({ programs })('500 changed images end in an answer or a DiskError', () => fuzz(500));
needs({ programs, nightly: true })(
  '20000 changed images end in an answer or a DiskError',
  () => fuzz(20_000),
  1_800_000,
);
