import { toNumber } from '../../../binary/convert.js';
import { type Range, RangeSet } from '../../../binary/range-set.js';
import type { RequestOptions } from '../../../device/block-device.js';
import { DiskError } from '../../../error/disk-error.js';
import type { Place } from '../../../error/message.js';
import { blockRuns } from '../block-runs.js';
import { fixedMetadata } from '../fixed-metadata.js';
import type { BlockRun } from '../geometry.js';
import { type Inode, readInode } from '../inode.js';
import type { ExtVolume } from '../volume.js';
import { JournalBlocks } from './journal-blocks.js';

/** What is kept of all runs of a journal is in memory; mke2fs makes a few. */
const largestRunCount = 2 ** 18;

/** The file that a filesystem keeps its journal in. */
export class JournalFile {
  private constructor(
    private readonly volume: ExtVolume,
    readonly blocks: JournalBlocks,
    /** Bytes of the device that hold the journal, and those that say where it lies. */
    readonly own: RangeSet,
  ) {}

  /**
   * Finds the journal of a filesystem that keeps it in an inode.
   *
   * @throws {DiskError} CORRUPT when it has holes, or lies where something else does; UNSUPPORTED when it is in too many pieces;
   * IO, CANCELLED
   */
  static async open(volume: ExtVolume, options: RequestOptions): Promise<JournalFile> {
    const { superblock, device } = volume;
    const inode = await readInode(volume, superblock.journalInode, options);
    const place: Place = { ...inode.place, structure: `ext4 journal in inode ${inode.number}` };
    if (inode.type !== 'file') throw DiskError.corrupt({ ...place, field: 'i_mode', expected: 'that of a file' });
    const count = Math.floor(inode.size / superblock.blockSize);
    const { content, all } = await runsOf(volume, inode, count, place, options);
    const own = RangeSet.of(all);
    const length = all.reduce((sum, range) => sum + range.length, 0n);
    if (own.total !== length) {
      throw DiskError.corrupt({
        ...place,
        field: 'blocks',
        actual: 'some of them twice',
        expected: 'each of them once',
      });
    }
    if (own.intersect(fixedMetadata(device, superblock, volume.groups)).count > 0) {
      const expected = 'apart from the metadata of the block groups';
      throw DiskError.corrupt({ ...place, field: 'blocks', actual: 'some of them in it', expected });
    }
    return new JournalFile(volume, new JournalBlocks(device, superblock.blockSize, content, options), own);
  }

  /**
   * Whether a transaction may write to a block: it is the filesystem's, and not the journal's own.
   *
   * @param place where its number stands
   * @throws {DiskError} CORRUPT
   */
  checkTarget(block: bigint, place: Place): number {
    const { firstDataBlock, blockCount } = this.volume.superblock;
    if (block < BigInt(firstDataBlock) || block >= BigInt(blockCount)) {
      const expected = `one of the filesystem, ${firstDataBlock} to ${blockCount - 1}`;
      throw DiskError.corrupt({ ...place, actual: block, expected });
    }
    const number = toNumber(block);
    if (this.own.has(this.volume.offsetOf(number))) {
      throw DiskError.corrupt({ ...place, actual: block, expected: 'one outside of the journal itself' });
    }
    return number;
  }

  /** Whether the other lies in the same blocks. */
  isWhere(other: JournalFile): boolean {
    const [mine, theirs] = [this, other].map(({ blocks: { runs } }) => JSON.stringify(runs));
    return mine === theirs && this.own.subtract(other.own).count === 0 && other.own.subtract(this.own).count === 0;
  }
}

/**
 * @param count blocks that the journal has, by the size of its file
 * @returns the blocks of the journal in its own order, and the bytes of all blocks of its inode
 */
async function runsOf(
  volume: ExtVolume,
  inode: Inode,
  count: number,
  place: Place,
  options: RequestOptions,
): Promise<{ readonly content: readonly BlockRun[]; readonly all: readonly Range[] }> {
  const content: BlockRun[] = [];
  const all: Range[] = [];
  let covered = 0;
  for await (const { role, fileBlock, block, count: length, unwritten } of blockRuns(volume, inode, options)) {
    const blockSize = BigInt(volume.superblock.blockSize);
    if (all.length === largestRunCount) {
      const expected = `at most ${largestRunCount}`;
      throw DiskError.unsupported({ ...place, field: 'runs of blocks', actual: `${all.length} and more`, expected });
    }
    all.push({ offset: volume.offsetOf(block), length: BigInt(length) * blockSize });
    if (role === 'map' || covered === count) continue;
    if (fileBlock !== covered || unwritten) break;
    const end = Math.min(fileBlock + length, count);
    content.push({ start: block, end: block + end - covered });
    covered = end;
  }
  if (count === 0) throw DiskError.corrupt({ ...place, field: 'i_size', actual: 0, expected: 'blocks: it has none' });
  if (covered < count) {
    throw DiskError.corrupt({
      ...place,
      field: `block ${covered}`,
      actual: 'a hole',
      expected: 'a block that was written',
    });
  }
  return { content, all };
}
