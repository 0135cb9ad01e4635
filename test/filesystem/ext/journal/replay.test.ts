import { copyFile } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { dumpe2fs, extImage } from '../../../support/ext-image.js';
import {
  type Checksum,
  differingBlocks,
  type JournalWrite,
  replayedByDebugfs,
  replayedByE2fsck,
  superblocks,
  withReplayed,
  writeJournal,
} from '../../../support/ext-journal.js';
import { needs } from '../../../support/needs.js';
import { openRaw } from '../../../support/raw-device.js';

const it = needs({ programs: ['mke2fs', 'debugfs', 'dumpe2fs', 'e2fsck'] });
const text = (words: string) => new TextEncoder().encode(`${words}, `);
/** The magic number of the journal: a block that begins so is escaped. */
const magic = Uint8Array.of(0xc0, 0x3b, 0x39, 0x98, 1, 2, 3);
const each = (blocks: readonly number[], content: Uint8Array) => blocks.map((block) => [block, content] as const);

/** Blocks of the filesystem are counted from one that is free in all of the shapes. */
const logs: Record<string, readonly JournalWrite[]> = {
  'one block': [{ blocks: each([0], text('one')) }],
  'blocks that are written again': [
    { blocks: each([0, 1, 2], text('first')) },
    { blocks: each([1], text('second')) },
    { blocks: each([2], text('third')) },
  ],
  'more blocks than a descriptor has room for': [
    { blocks: Array.from({ length: 280 }, (_, i) => [i * 2, text(`block ${i}`)] as const) },
    { blocks: each([2], text('after')) },
  ],
  // The last one: debugfs puts what comes after such a transaction over its commit block.
  'blocks that are revoked in their own transaction': [
    { blocks: each([0], text('first')) },
    { blocks: each([0, 1], text('second')), revoke: [0] },
  ],
  'escaped blocks': [{ blocks: [...each([0], magic), ...each([1], text('plain')), ...each([2], magic)] }],
  'revoked blocks': [
    { blocks: each([0, 1, 2, 3], text('first')) },
    { revoke: [0, 1, 500] },
    { blocks: each([1], text('again')) },
  ],
  'a last transaction without its commit block': [
    { blocks: each([0], text('one')) },
    { blocks: each([1], text('two')), torn: true },
  ],
};
/** With checksums v1, debugfs counts revocation blocks and the kernel does not. */
const withoutRevocation = Object.fromEntries(
  Object.entries(logs).filter(([, transactions]) => transactions.every(({ revoke }) => revoke === undefined)),
);

const movedBy = (delta: number, transactions: readonly JournalWrite[]): JournalWrite[] =>
  transactions.map(({ blocks, revoke, torn }) => ({
    ...(blocks && { blocks: blocks.map(([block, content]) => [block + delta, content] as const) }),
    ...(revoke && { revoke: revoke.map((block) => block + delta) }),
    ...(torn && { torn }),
  }));

interface Shape {
  readonly mke2fs: string;
  readonly blockSize: number;
  readonly free: number;
  readonly checksums: readonly Checksum[];
}
const shapes: Record<string, Shape> = {
  'ext3 of 1 KiB blocks': { mke2fs: '-t ext3 -b 1024', blockSize: 1024, free: 15000, checksums: ['none', 'v1'] },
  'ext3 of 4 KiB blocks': { mke2fs: '-t ext3 -b 4096', blockSize: 4096, free: 2500, checksums: ['none'] },
  'ext4 of 1 KiB blocks': { mke2fs: '-t ext4 -b 1024', blockSize: 1024, free: 15000, checksums: ['none', 'v2', 'v3'] },
  'ext4 without metadata_csum': {
    mke2fs: '-t ext4 -b 1024 -O ^metadata_csum,uninit_bg',
    blockSize: 1024,
    free: 15000,
    checksums: ['none', 'v1'],
  },
  'ext4 of 4 KiB blocks': { mke2fs: '-t ext4 -b 4096', blockSize: 4096, free: 2500, checksums: ['v2', 'v3'] },
  'ext4 without 64bit': {
    mke2fs: '-t ext4 -b 1024 -O ^64bit',
    blockSize: 1024,
    free: 15000,
    checksums: ['none', 'v2', 'v3'],
  },
  bigalloc: { mke2fs: '-t ext4 -b 1024 -O bigalloc -C 4096 -g 2048', blockSize: 1024, free: 15000, checksums: ['v3'] },
};

describe('the replayed filesystem is what debugfs and e2fsck leave, but for superblocks and the journal', () => {
  for (const [shape, { mke2fs, blockSize, free, checksums }] of Object.entries(shapes)) {
    for (const checksum of checksums) {
      it(`${shape} with checksums ${checksum}`, async () => {
        const image = await extImage({ mke2fs: `${mke2fs} -N 512`, size: '16M', keep: true }, 10);
        const { backups } = await dumpe2fs(image.path);
        for (const [log, transactions] of Object.entries(checksum === 'v1' ? withoutRevocation : logs)) {
          const path = `${image.path}.dirty`;
          await copyFile(image.path, path);
          await writeJournal(path, checksum, blockSize, movedBy(free, transactions));
          const theirs = await replayedByDebugfs(path);
          await withReplayed(path, async (view, own) => {
            const ignored = own.union(superblocks(blockSize, backups));
            expect(await differingBlocks(view, theirs, blockSize, ignored), log).toEqual([]);
            const checked = await replayedByE2fsck(path);
            expect(await differingBlocks(view, checked, blockSize, ignored), log).toEqual([]);
            await using dirty = await openRaw(path);
            expect((await differingBlocks(dirty, theirs, blockSize, ignored)).length, log).toBeGreaterThan(0);
          });
        }
      });
    }
  }
});
