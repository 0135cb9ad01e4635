import { copyFile } from 'node:fs/promises';
import fc from 'fast-check';
import { dumpe2fs, extImage } from '../../../support/ext-image.js';
import {
  type Checksum,
  differingBlocks,
  type JournalWrite,
  replayedByDebugfs,
  superblocks,
  withReplayed,
  writeJournal,
} from '../../../support/ext-journal.js';
import { needs } from '../../../support/needs.js';

const blockSize = 1024;
/** The first of a few blocks that are free: so few that they are written and revoked again and again. */
const free = 7000;
const magic = Uint8Array.of(0xc0, 0x3b, 0x39, 0x98);

const block = fc.nat(11).map((number) => free + number);
const content = fc.oneof(fc.constant(magic), fc.uint8Array({ minLength: 1, maxLength: 9 }));
const writes = fc
  .uniqueArray(fc.tuple(block, content), { minLength: 1, maxLength: 8, selector: ([number]) => number })
  .map((blocks): JournalWrite => ({ blocks }));
const revokes = fc.uniqueArray(block, { minLength: 1, maxLength: 6 }).map((revoke): JournalWrite => ({ revoke }));
/** A transaction both writes and revokes only at the end: debugfs puts the next one over its commit block. */
const log = fc
  .tuple(fc.array(fc.oneof(writes, writes, revokes), { maxLength: 8 }), fc.tuple(writes, revokes), fc.boolean())
  .map(([before, [written, revoked], torn]): JournalWrite[] => [...before, { ...written, ...revoked, torn }]);

async function compare(numRuns: number): Promise<void> {
  const shapes: readonly (readonly [mke2fs: string, checksum: Checksum])[] = [
    ['-t ext3', 'none'],
    ['-t ext4', 'v3'],
  ];
  for (const [mke2fs, checksum] of shapes) {
    const { path } = await extImage({ mke2fs: `${mke2fs} -b ${blockSize} -N 256`, size: '8M', keep: true }, 10);
    const { backups } = await dumpe2fs(path);
    const property = fc.asyncProperty(log, async (transactions) => {
      const dirty = `${path}.dirty`;
      await copyFile(path, dirty);
      await writeJournal(dirty, checksum, blockSize, transactions);
      const theirs = await replayedByDebugfs(dirty);
      await withReplayed(dirty, async (view, own) => {
        const differing = await differingBlocks(view, theirs, blockSize, own.union(superblocks(blockSize, backups)));
        if (differing.length > 0) throw new Error(`blocks ${differing.join(', ')} differ`);
      });
    });
    await fc.assert(property, { numRuns: numRuns / shapes.length, seed: 1 });
  }
}

const programs = ['mke2fs', 'debugfs', 'dumpe2fs'] as const;

needs({ programs })('random logs are replayed as debugfs does', () => compare(40), 60_000);
needs({ programs, nightly: true })('2000 random logs are replayed as debugfs does', () => compare(2000), 1_800_000);
