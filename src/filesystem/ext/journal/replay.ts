import { viewOf } from '../../../binary/layout.js';
import { isZero } from '../../../binary/zeros.js';
import type { RequestOptions } from '../../../device/block-device.js';
import { DiskError } from '../../../error/disk-error.js';
import type { ExtVolume } from '../volume.js';
import { JournalFile } from './journal-file.js';
import { ReplayedView } from './replayed-view.js';
import { committedTransactions } from './scan.js';
import { type JournalSuperblock, readJournalSuperblock, readStart } from './superblock.js';
import { readTransaction, refuseTooMany, type Write } from './transaction.js';

/** A filesystem's journal: the file that it is, and what its first block says. */
export interface Journal extends JournalSuperblock {
  readonly file: JournalFile;
}

/**
 * Finds a filesystem's journal and reads its first block.
 *
 * @throws {DiskError} CORRUPT, also when whoever wrote the journal gave it up; UNSUPPORTED; IO, CANCELLED
 */
export async function openJournal(volume: ExtVolume, options: RequestOptions): Promise<Journal> {
  const file = await JournalFile.open(volume, options);
  const { blocks } = file;
  const place = blocks.place('jbd2 superblock', 0);
  const view = viewOf(await blocks.read(0));
  return { ...readJournalSuperblock(view, blocks.count, volume.superblock.blockSize, place), file };
}

/**
 * Whether the log of a journal is empty: nothing else of the journal matters then.
 *
 * @throws {DiskError} CORRUPT when there is no journal, or whoever wrote it gave it up; UNSUPPORTED; IO, CANCELLED
 */
export async function isJournalEmpty(volume: ExtVolume, options: RequestOptions): Promise<boolean> {
  const { blocks } = await JournalFile.open(volume, options);
  return readStart(viewOf(await blocks.read(0)), blocks.place('jbd2 superblock', 0)) === 0;
}

/**
 * The filesystem as it will be when its journal has been replayed, by the rules of the kernel's fs/jbd2/recovery.c, where
 * it is all as it should be; there is no repair.
 *
 * The kernel goes through the log three times: for its end, for revoked blocks, and to write. Once is enough where
 * nothing is written yet: a block that a transaction revokes loses what this and all before it wrote there, and keeps
 * what those behind it write.
 *
 * @throws {DiskError} CORRUPT when anything of the log is irregular; UNSUPPORTED; IO, CANCELLED
 */
export async function replayJournal(volume: ExtVolume, { file, ...journal }: Journal): Promise<ReplayedView> {
  const { blocks } = file;
  await refuseFastCommits(file, journal);
  const replayed = new Map<number, Write>();
  if (journal.start !== 0) {
    for await (const committed of committedTransactions(blocks, journal)) {
      const { writes, revoked } = await readTransaction(file, journal, committed);
      for (const write of writes) replayed.set(write.block, write);
      for (const block of revoked) replayed.delete(block);
      refuseTooMany(replayed.size, blocks.place('jbd2 commit block', committed.commit));
    }
  }
  return new ReplayedView(volume.device, blocks, replayed);
}

/** Fast commits are changes of another kind, which the kernel makes when the log is replayed. */
async function refuseFastCommits({ blocks }: JournalFile, { last, fastCommitEnd }: JournalSuperblock): Promise<void> {
  for await (const block of blocks.written(last, fastCommitEnd)) {
    if (isZero(await blocks.read(block))) continue;
    const expected = 'none: disktool does not replay them';
    throw DiskError.unsupported({
      ...blocks.place('jbd2 log', block),
      field: 'fast commits',
      actual: 'there',
      expected,
    });
  }
}
