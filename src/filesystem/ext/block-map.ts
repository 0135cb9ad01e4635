import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import type { BlockRun } from './block-runs.js';
import { blockMap, fileBlockLimit } from './file-on-disk.js';
import type { Inode } from './inode.js';
import type { ExtVolume } from './volume.js';

const { direct, deepest, pointerSize } = blockMap;

/** What the reader of one inode's map keeps. */
interface Reading {
  readonly volume: ExtVolume;
  readonly inode: Inode;
  readonly options: RequestOptions;
  /** Blocks of block numbers that have been read: one that comes again would let a small disk describe a huge file. */
  readonly seen: Set<number>;
}

/**
 * The blocks of an inode without extents: 12 of its own, and those that up to three levels of blocks of block numbers
 * name, those of one block in one go. 0 is a hole. Documentation/filesystems/ext4: Direct/Indirect Block Addressing.
 *
 * It ends, whatever the disk says: levels are three at most, and no block of block numbers is read twice.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* readBlockMap(
  volume: ExtVolume,
  inode: Inode,
  options: RequestOptions,
): AsyncGenerator<readonly BlockRun[], void, undefined> {
  const reading: Reading = { volume, inode, options, seen: new Set() };
  const pointers = viewOf(inode.raw.i_block);
  const place = { ...inode.place, structure: `block map of ${inode.place.structure}` };
  yield readPointers(reading, pointers, direct, 0, place);
  let fileBlock = direct;
  for (let depth = 1; depth <= deepest; depth++) {
    const block = pointers.getUint32((direct + depth - 1) * pointerSize, true);
    if (block !== 0) yield* readIndirect(reading, block, depth, fileBlock, place);
    fileBlock += span(volume, depth);
  }
}

/** Blocks of the file that a block of block numbers covers; 1 for depth 0, a block of the file itself. */
function span({ superblock: { blockSize } }: ExtVolume, depth: number): number {
  return (blockSize / pointerSize) ** depth;
}

async function* readIndirect(
  reading: Reading,
  block: number,
  depth: number,
  fileBlock: number,
  place: Place,
): AsyncGenerator<readonly BlockRun[], void, undefined> {
  const { volume, inode, options, seen } = reading;
  if (seen.has(block)) {
    throw DiskError.corrupt({ ...place, field: 'i_block', actual: block, expected: 'each block of its map once' });
  }
  seen.add(block);
  const pointers = viewOf(await volume.block(block, { ...place, field: 'i_block' }, options));
  yield [{ role: 'map', fileBlock, block, count: 1, unwritten: false }];
  const here = volume.place(`block map of ext4 inode ${inode.number}`, block);
  const count = pointers.byteLength / pointerSize;
  if (depth === 1) {
    yield readPointers(reading, pointers, count, fileBlock, here);
    return;
  }
  const step = span(volume, depth - 1);
  for (let i = 0; i < count; i++) {
    const below = pointers.getUint32(i * pointerSize, true);
    if (below !== 0) yield* readIndirect(reading, below, depth - 1, fileBlock + i * step, here);
  }
}

/** Runs of blocks of the file that follow each other on the device too. */
function readPointers(
  { volume }: Reading,
  pointers: DataView,
  count: number,
  fileBlock: number,
  place: Place,
): readonly BlockRun[] {
  const runs: BlockRun[] = [];
  for (let i = 0; i < count; ) {
    const block = pointers.getUint32(i * pointerSize, true);
    if (block === 0) {
      i++;
      continue;
    }
    let length = 1;
    while (i + length < count && pointers.getUint32((i + length) * pointerSize, true) === block + length) length++;
    volume.checkBlocks(block, length, { ...place, field: 'i_block' });
    const first = fileBlock + i;
    if (first + length > fileBlockLimit) {
      throw DiskError.corrupt({ ...place, field: 'file block', actual: first, expected: `below ${fileBlockLimit}` });
    }
    runs.push({ role: 'content', fileBlock: first, block, count: length, unwritten: false });
    i += length;
  }
  return runs;
}
