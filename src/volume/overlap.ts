import { type Range, RangeSet } from '../binary/range-set.js';
import type { Partition } from './partition.js';
import type { Warnings } from './warnings.js';

/**
 * Marks each partition that shares bytes with another or with the table, or passes the end of the disk. An extended
 * partition holds its logical drives, and only has to keep clear of the other primaries.
 *
 * @param table the bytes that the partition table itself takes
 * @param size bytes of the disk
 */
export function withProblems(
  partitions: readonly Partition[],
  table: readonly Range[],
  size: bigint,
  warnings: Warnings,
): Partition[] {
  const overlapping = new Set<number>();
  const findOverlaps = (among: readonly Partition[]) => {
    for (const [first, second] of overlaps(among)) {
      // Two primaries meet in both sweeps: one word about them is enough.
      if (!(overlapping.has(first.number) && overlapping.has(second.number))) {
        warnings.add(`partitions ${first.number} and ${second.number} overlap`);
      }
      overlapping.add(first.number).add(second.number);
    }
  };
  findOverlaps(partitions.filter(({ role }) => role !== 'extended'));
  findOverlaps(partitions.filter(({ role }) => role !== 'logical'));

  const taken = RangeSet.of(table);
  return partitions.map((partition) => {
    const { number, offset, length, role } = partition;
    const beyond = offset + length - size;
    if (role !== 'extended' && taken.clip(offset, length).count > 0) {
      warnings.add(`partition ${number} covers a part of the partition table`);
      overlapping.add(number);
    }
    if (beyond > 0n) {
      warnings.add(
        `partition ${number} passes the end of the disk by ${beyond} bytes: the disk may have been cut short`,
      );
      return { ...partition, problem: 'past-end' };
    }
    return overlapping.has(number) ? { ...partition, problem: 'overlaps' } : partition;
  });
}

/**
 * Pairs such that every partition that overlaps any other is in one of them. Sweeps in ascending order beside the one
 * that reaches furthest: who overlaps somebody before it overlaps that one.
 */
function* overlaps(partitions: readonly Partition[]): Generator<[Partition, Partition]> {
  const ascending = [...partitions].sort((a, b) => (a.offset < b.offset ? -1 : a.offset > b.offset ? 1 : 0));
  let furthest: Partition | undefined;
  for (const partition of ascending) {
    if (furthest !== undefined && partition.offset < furthest.offset + furthest.length) yield [furthest, partition];
    if (furthest === undefined || partition.offset + partition.length > furthest.offset + furthest.length) {
      furthest = partition;
    }
  }
}
