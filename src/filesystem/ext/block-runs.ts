import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { readBlockMap } from './block-map.js';
import { readExtentTree } from './extent-tree.js';
import { inodeFlags } from './file-on-disk.js';
import type { Inode } from './inode.js';
import { roCompat } from './on-disk.js';
import type { ExtVolume } from './volume.js';

/** Blocks of the device that belong to an inode. */
export interface BlockRun {
  /** `content`: blocks of the file itself. `map`: those that say where its blocks lie. */
  readonly role: 'content' | 'map';
  /** Of the file: the first; for a map, the first that it covers. */
  readonly fileBlock: number;
  /** Of the device. */
  readonly block: number;
  readonly count: number;
  /** Set aside and never written: reads as zeros whatever lies there. */
  readonly unwritten: boolean;
}

/**
 * Where the blocks of an inode lie: content in ascending order of the file, joined where it goes on, and the blocks of
 * the map each before what it covers. What is named nowhere is a hole. There may be blocks past the file's size. They are
 * no more than the filesystem has: a small one does not describe files, or maps of them, without end.
 *
 * @throws {DiskError} CORRUPT, also for an inode whose content lies in itself; IO, CANCELLED
 */
export async function* blockRuns(
  volume: ExtVolume,
  inode: Inode,
  options: RequestOptions = {},
): AsyncGenerator<BlockRun, void, undefined> {
  if (inodeFlags.has(inode.flags, 'INLINE_DATA')) {
    throw DiskError.corrupt({ ...inode.place, field: 'i_flags', actual: 'INLINE_DATA', expected: 'a map of blocks' });
  }
  const extents = inodeFlags.has(inode.flags, 'EXTENTS');
  const runs = extents ? readExtentTree(volume, inode, options) : readBlockMap(volume, inode, options);
  const { blockCount, roCompat: features } = volume.superblock;
  // A block is one block of one file, unless an image for reading alone was made with blocks that are the same shared.
  const shared = roCompat.has(features, 'shared_blocks');
  let total = 0;
  let pending: BlockRun | undefined;
  for await (const batch of runs) {
    for (const run of batch) {
      if (run.role === 'map' || !shared) total += run.count;
      if (total > blockCount) {
        const expected = `at most ${blockCount}`;
        throw DiskError.corrupt({ ...inode.place, field: 'its blocks', actual: total, expected });
      }
      if (run.role === 'map') yield run;
      else if (pending !== undefined && goesOn(pending, run)) {
        pending = { ...pending, count: pending.count + run.count };
      } else {
        if (pending !== undefined) yield pending;
        pending = run;
      }
    }
  }
  if (pending !== undefined) yield pending;
}

function goesOn(a: BlockRun, b: BlockRun): boolean {
  return a.fileBlock + a.count === b.fileBlock && a.block + a.count === b.block && a.unwritten === b.unwritten;
}
