import { viewOf } from '../../../binary/layout.js';
import { DiskError } from '../../../error/disk-error.js';
import { hex } from '../../../error/message.js';
import { tailMatches } from './checksum.js';
import type { JournalBlocks } from './journal-blocks.js';
import { blockType, journalHeader, journalMagic } from './on-disk.js';
import type { JournalSuperblock } from './superblock.js';
import { readTags } from './tags.js';

/** A transaction with a commit block: blocks of the journal, in the order of the log. */
export interface Committed {
  readonly sequence: number;
  readonly parts: readonly Part[];
  /** Of its commit block. */
  readonly commit: number;
}

/** A block that says what its transaction changes. */
export interface Part {
  readonly kind: 'descriptor' | 'revoke';
  /** Behind a descriptor come its blocks of data, one for each of its tags. */
  readonly at: number;
}

/** The block that comes `count` blocks behind another in the ring of the log. */
export function blockBehind({ first, last }: JournalSuperblock, at: number, count: number): number {
  return first + ((at - first + count) % (last - first));
}

/**
 * The transactions of the log that were committed, from its first on: the kernel's first pass of recovery.
 *
 * The log ends where the next block does not begin with the magic number and the number of the transaction that is due;
 * the kernel and e2fsck stop there too. What a crash leaves behind looks so: the blocks of the last transaction are
 * written in any order, and its commit block when all the others are on the disk. So this is the end and no damage if
 *
 * - no commit block of the transaction that is due stands anywhere behind the end: it was never committed; and
 * - nothing of a later transaction stands there: the one after is begun when this one is committed. All that an earlier
 *   round through the ring has left is of earlier transactions, since their numbers only ever grow.
 *
 * Else a block in the middle of the log was lost, and with it what was committed after. A descriptor or revocation block
 * whose checksum is wrong is treated as the end, by the same rule: a crash can tear a block of the last transaction.
 *
 * It ends, whatever the disk says: each step moves on, and none passes the place where the log began.
 *
 * @throws {DiskError} CORRUPT where the log is irregular; UNSUPPORTED where kernels differ in what they would do; IO,
 * CANCELLED
 */
export async function* committedTransactions(
  blocks: JournalBlocks,
  journal: JournalSuperblock,
): AsyncGenerator<Committed, void, undefined> {
  const ring = new Ring(blocks, journal);
  let sequence = journal.sequence;
  let parts: Part[] = [];
  while (ring.left > 0) {
    const at = ring.at;
    const block = await blocks.read(at);
    const { h_magic: magic, h_blocktype: type, h_sequence: found } = journalHeader.at(viewOf(block));
    if (magic !== journalMagic || found !== sequence) break;
    if (type === blockType.commit) {
      yield { sequence, parts, commit: at };
      ring.advance(1);
      sequence = (sequence + 1) >>> 0;
      parts = [];
    } else if (type === blockType.descriptor || type === blockType.revoke) {
      if (!tailMatches(journal, block)) break;
      const count = type === blockType.descriptor ? readTags(journal, block).length : 0;
      ring.advance(1 + count);
      parts.push({ kind: type === blockType.descriptor ? 'descriptor' : 'revoke', at });
    } else {
      const expected = `${blockType.descriptor}, ${blockType.commit} or ${blockType.revoke}`;
      throw DiskError.corrupt({ ...blocks.place('jbd2 log', at), field: 'h_blocktype', actual: type, expected });
    }
  }
  await refuseLaterBlocks(blocks, journal, ring, sequence);
}

/** A place in the ring of the log, and how far it is from there to where the log began. */
class Ring {
  at: number;
  /** Blocks. */
  left: number;

  constructor(
    private readonly blocks: JournalBlocks,
    private readonly journal: JournalSuperblock,
  ) {
    this.at = journal.start;
    this.left = journal.last - journal.first;
  }

  advance(count: number): void {
    const { last, fastCommitEnd } = this.journal;
    if (count > this.left) {
      const place = this.blocks.place('jbd2 log', this.at);
      throw DiskError.corrupt({ ...place, field: 'transaction', actual: 'longer than the log', expected: 'an end' });
    }
    // Some kernels, and e2fsprogs, take the blocks of fast commits for a part of the ring when they recover it.
    if (this.at + count >= last && fastCommitEnd > last) {
      throw DiskError.unsupported({
        ...this.blocks.place('jbd2 log', this.at),
        field: 'log',
        actual: 'one that goes round, in a journal with room for fast commits',
        expected: 'one that does not: kernels differ in where it goes on',
      });
    }
    this.left -= count;
    this.at = blockBehind(this.journal, this.at, count);
  }
}

async function refuseLaterBlocks(
  blocks: JournalBlocks,
  journal: JournalSuperblock,
  ring: Ring,
  due: number,
): Promise<void> {
  const { at, left } = ring;
  // The rest of the ring is one stretch, or two.
  const { first, last } = journal;
  const end = Math.min(at + left, last);
  const stretches = [
    [at, end],
    [first, first + left - (end - at)],
  ] as const;
  for (const [from, to] of stretches) {
    for await (const behind of blocks.written(from, to)) {
      const { h_magic, h_blocktype, h_sequence } = journalHeader.at(viewOf(await blocks.read(behind)));
      if (h_magic !== journalMagic) continue;
      // Transactions are numbered modulo 2^32.
      const later = ((h_sequence - due) | 0) > 0;
      if (later || (h_sequence === due && h_blocktype === blockType.commit)) {
        throw DiskError.corrupt({
          ...blocks.place('jbd2 log', behind),
          field: 'h_sequence',
          actual: h_sequence,
          expected: `none behind the end of the log at byte ${hex(blocks.offsetOf(at))}, where ${due} is due: a part of it is lost`,
        });
      }
    }
  }
}
