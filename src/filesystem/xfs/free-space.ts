import { type RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { type Group, readGroup } from './group.js';
import { usedExtents } from './metadata.js';
import { freeExtent } from './on-disk.js';
import { type TreeBlock, treeBlocks } from './tree.js';
import type { XfsVolume } from './volume.js';

/**
 * The free bytes of a filesystem: what the trees of free space of every group hold. The two of a group must agree with
 * each other and with the group's own counts, and nothing that is free may be metadata, shared, or in the reverse map.
 *
 * @throws {DiskError} CORRUPT when anything contradicts: then nothing that the trees say can be believed; IO, CANCELLED
 */
export async function readFreeSpace(volume: XfsVolume, options: RequestOptions): Promise<RangeSet> {
  const free = new RangeSetBuilder();
  for (let number = 0; number < volume.superblock.groupCount; number++) {
    const group = await readGroup(volume, number, options);
    const found = await readGroupFree(volume, group, options);
    const used = new RangeSetBuilder();
    for await (const { offset, length } of usedExtents(volume, group, options)) used.add(offset, length);
    const [both] = found.intersect(used.finish());
    if (both !== undefined) {
      const place = volume.place(`free space of group ${number}`, both.offset);
      throw DiskError.corrupt({ ...place, actual: 'in use, as other trees have it', expected: 'nobody’s' });
    }
    for (const { offset, length } of found) free.add(offset, length);
  }
  return free.finish();
}

async function readGroupFree(volume: XfsVolume, group: Group, options: RequestOptions): Promise<RangeSet> {
  const { trees, number, length: end } = group;
  const free = new RangeSetBuilder();
  /** Length and start of each, as one number in the order of the second tree. */
  const byBlock = new Keys();
  let total = 0;
  let longest = 0;
  let next = volume.headerLength;
  for await (const leaf of leaves(treeBlocks(volume, group, 'bno', trees.bno, options))) {
    for (const { start, length } of recordsOf(leaf)) {
      if (start < next || length === 0 || start + length > end) {
        const actual = `${length} blocks from ${start}`;
        throw DiskError.corrupt({
          ...leaf.place,
          actual,
          expected: `within ${next} to ${end - 1}, in ascending order`,
        });
      }
      next = start + length;
      total += length;
      longest = Math.max(longest, length);
      byBlock.add(start, length);
      const range = volume.rangeOf(volume.blockOf(number, start), length);
      free.add(range.offset, range.length);
    }
  }
  const byLength = new Keys();
  for await (const leaf of leaves(treeBlocks(volume, group, 'cnt', trees.cnt, options))) {
    for (const { start, length } of recordsOf(leaf)) byLength.add(start, length);
  }
  const place = volume.place(`group ${number}`, volume.offsetOf(volume.blockOf(number, 0)));
  if (!byBlock.sorted().equals(byLength)) {
    const field = 'its two trees of free space';
    throw DiskError.corrupt({ ...place, field, actual: 'different', expected: 'the same extents in both' });
  }
  if (total !== group.freeBlockCount) {
    const expected = `${total}, as in its trees`;
    throw DiskError.corrupt({ ...place, field: 'agf_freeblks', actual: group.freeBlockCount, expected });
  }
  if (longest !== group.longestFree) {
    const expected = `${longest}, as in its trees`;
    throw DiskError.corrupt({ ...place, field: 'agf_longest', actual: group.longestFree, expected });
  }
  return free.finish();
}

async function* leaves(blocks: AsyncIterable<TreeBlock>): AsyncGenerator<TreeBlock, void, undefined> {
  for await (const block of blocks) if (block.level === 0) yield block;
}

function* recordsOf({ view, start, count }: TreeBlock) {
  for (let i = 0; i < count; i++) {
    const { ar_startblock, ar_blockcount } = freeExtent.at(view, start + i * freeExtent.size);
    yield { start: ar_startblock, length: ar_blockcount };
  }
}

/** Extents as numbers that are ordered by length, then by start. */
class Keys {
  #keys = new BigUint64Array(64);
  #used = 0;

  add(start: number, length: number): void {
    if (this.#used === this.#keys.length) {
      const grown = new BigUint64Array(this.#keys.length * 2);
      grown.set(this.#keys);
      this.#keys = grown;
    }
    this.#keys[this.#used++] = (BigInt(length) << 32n) | BigInt(start);
  }

  sorted(): this {
    this.#keys.subarray(0, this.#used).sort();
    return this;
  }

  equals(other: Keys): boolean {
    return this.#used === other.#used && this.#keys.subarray(0, this.#used).every((key, i) => key === other.#keys[i]);
  }
}
