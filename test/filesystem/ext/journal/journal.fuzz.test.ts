import fc from 'fast-check';
import { expect } from 'vitest';
import type { BlockDevice } from '../../../../src/device/block-device.js';
import { DiskError } from '../../../../src/error/disk-error.js';
import { openExt } from '../../../../src/filesystem/ext/ext.js';
import {
  blockTag,
  commitHeader,
  journalHeader,
  journalSuperblock,
  revokeHeader,
} from '../../../../src/filesystem/ext/journal/on-disk.js';
import { extImage } from '../../../support/ext-image.js';
import {
  type Checksum,
  inodePlace,
  type JournalWrite,
  withJournal,
  writeJournal,
} from '../../../support/ext-journal.js';
import { inMemory } from '../../../support/ext-memory.js';
import { needs } from '../../../support/needs.js';

/** Journals in which a changed byte is not already caught by a checksum, and one in which it mostly is. */
const shapes: readonly (readonly [mke2fs: string, checksum: Checksum])[] = [
  ['-t ext4 -O ^metadata_csum,^uninit_bg', 'none'],
  ['-t ext3', 'none'],
  ['-t ext4 -O ^metadata_csum,^uninit_bg,^64bit', 'v1'],
  ['-t ext4', 'v3'],
];
const blockSize = 1024;
const free = 7000;
const each = (...blocks: number[]) => blocks.map((block) => [free + block, Uint8Array.of(block, 1)] as const);
const log: readonly JournalWrite[] = [
  { blocks: each(0, 1, 2, 3) },
  { blocks: each(1, 4) },
  { revoke: [free, free + 9] },
  { blocks: each(0) },
];
/** Of the journal: its superblock, and all that the log takes. */
const logLength = 20;

/** A change of some bytes: of the journal by its blocks, or of its inode. */
interface Mutation {
  readonly where: 'journal' | 'inode';
  readonly at: number;
  readonly bytes: Uint8Array;
}

const value = fc.oneof(
  fc.constantFrom([0], [1], [0x7f], [0x80], [0xff], [0xff, 0xff], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0], [0, 0, 0, 1]),
  fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }),
);
const word = fc.oneof(fc.constantFrom(0, 1, 2, 5, 0x3ff, 0x400, 0x7fff_ffff, 0xffff_ffff), fc.nat(0xffff_ffff));
const big = (number: number) => Uint8Array.of(number >>> 24, number >>> 16, number >>> 8, number);

/** A field of a structure that may stand in some block of the log. */
const fields = [journalSuperblock, journalHeader, revokeHeader, commitHeader].flatMap((structure) =>
  Object.values(structure.fields).map(({ offset, size }) => ({ offset, size, first: structure === journalSuperblock })),
);
const named = fc
  .tuple(fc.constantFrom(...fields), fc.integer({ min: 1, max: logLength - 1 }), word)
  .map(([{ offset, size, first }, block, number]): Mutation => {
    const bytes = big(number).subarray(Math.max(0, 4 - size));
    return { where: 'journal', at: (first ? 0 : block) * blockSize + offset, bytes };
  });
const tag = fc
  .tuple(fc.integer({ min: 1, max: logLength - 1 }), fc.nat(4), fc.nat(blockTag.size - 1), value)
  .map(([block, index, at, bytes]): Mutation => {
    const start = block * blockSize + journalHeader.size + index * 12 + (index > 0 ? 16 : 0);
    return { where: 'journal', at: start + at, bytes: Uint8Array.from(bytes) };
  });
const anywhere = fc
  .tuple(fc.nat(logLength * blockSize - 9), value)
  .map(([at, bytes]): Mutation => ({ where: 'journal', at, bytes: Uint8Array.from(bytes) }));
const inode = fc
  .tuple(fc.nat(127 - 8), value)
  .map(([at, bytes]): Mutation => ({ where: 'inode', at, bytes: Uint8Array.from(bytes) }));
const mutation = fc.oneof(
  { arbitrary: named, weight: 4 },
  { arbitrary: tag, weight: 3 },
  { arbitrary: anywhere, weight: 2 },
  { arbitrary: inode, weight: 1 },
);

interface Place {
  /** Bytes from the start of the device. */
  readonly inode: number;
  readonly journal: number;
}

async function attack(device: BlockDevice, place: Place, mutations: readonly Mutation[]): Promise<void> {
  const parts = [
    { offset: place.journal, length: logLength * blockSize, where: 'journal' },
    { offset: place.inode, length: 128, where: 'inode' },
  ] as const;
  const kept: [bytes: Uint8Array, offset: bigint][] = [];
  for (const { offset, length, where } of parts) {
    const good = new Uint8Array(length);
    await device.read(good, BigInt(offset));
    kept.push([good, BigInt(offset)]);
    const bad = Uint8Array.from(good);
    for (const { at, bytes } of mutations.filter((mutation) => mutation.where === where)) bad.set(bytes, at);
    await device.write(bad, BigInt(offset));
  }
  try {
    for (const { offset } of await (await openExt(device)).freeSpace()) expect(offset).toBeGreaterThanOrEqual(2048n);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
  } finally {
    for (const [bytes, offset] of kept) await device.write(bytes, offset);
  }
}

async function fuzz(numRuns: number): Promise<void> {
  for (const [mke2fs, checksum] of shapes) {
    const { path } = await extImage({ mke2fs: `${mke2fs} -b ${blockSize} -N 256`, size: '8M', keep: true }, 10);
    await writeJournal(path, checksum, blockSize, checksum === 'v1' ? log.slice(0, 2) : log);
    const journal = await withJournal(path, ({ blocks }) => Number(blocks.offsetOf(0)));
    const place = { journal, inode: await inodePlace(path) };
    // On a device without an end, only the parser itself can bound what it does.
    await using device = await inMemory(path, 2n ** 60n);
    expect((await (await openExt(device)).freeSpace()).count).toBeGreaterThan(0);
    const property = fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) =>
      attack(device, place, mutations),
    );
    await fc.assert(property, { numRuns: numRuns / shapes.length, seed: 1 });
  }
}

const programs = ['mke2fs', 'debugfs', 'dumpe2fs'] as const;

needs({ programs })('500 changed journals end in an answer or a DiskError', () => fuzz(500));
needs({ programs, nightly: true })(
  '20000 changed journals end in an answer or a DiskError',
  () => fuzz(20_000),
  1_800_000,
);
