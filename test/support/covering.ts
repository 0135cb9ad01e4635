import { expect } from 'vitest';
import { type Range, RangeSet } from '../../src/binary/range-set.js';
import type { Filesystem } from '../../src/filesystem/filesystem.js';

/** The ranges that files own, without what lies in inodes. */
export async function rangesOfFiles(filesystem: Filesystem): Promise<RangeSet> {
  const ranges: Range[] = [];
  for await (const { file } of filesystem.walk()) {
    for await (const { offset, length, inline } of file.fileMap()) if (!inline) ranges.push({ offset, length });
  }
  return RangeSet.of(ranges);
}

/** The ranges that belong to no file, which do not overlap. */
export async function rangesOfMetadata(filesystem: Filesystem): Promise<RangeSet> {
  const ranges: Range[] = [];
  let total = 0n;
  for await (const range of filesystem.metadata()) {
    ranges.push(range);
    total += range.length;
  }
  const set = RangeSet.of(ranges);
  expect(set.total, 'metadata does not overlap').toBe(total);
  return set;
}

/**
 * Expects metadata, files and free space to cover every byte of a filesystem, each byte once.
 *
 * @param whole what of the filesystem is taken with ranges: the clusters that they lie in
 */
export async function expectCovered(
  filesystem: Filesystem,
  whole: (ranges: RangeSet) => RangeSet | Promise<RangeSet> = (ranges) => ranges,
): Promise<void> {
  const owned = await rangesOfFiles(filesystem);
  const [metadata, free] = [await rangesOfMetadata(filesystem), await filesystem.freeSpace()];
  const files = (await whole(owned)).clip(0n, filesystem.size);
  expect([...metadata.intersect(owned)]).toEqual([]);
  expect([...free.intersect(files)]).toEqual([]);
  expect([...free.intersect(metadata)]).toEqual([]);
  expect([...(await whole(metadata)).union(files).union(free)]).toEqual([{ offset: 0n, length: filesystem.size }]);
}
