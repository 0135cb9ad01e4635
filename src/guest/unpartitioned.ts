import { max } from '../binary/convert.js';
import { RangeSet } from '../binary/range-set.js';
import { ownerOf } from '../volume/partition-type.js';
import { diskName } from './device-name.js';
import type { VolumeFreeSpace } from './free-space.js';
import type { Guest } from './guest.js';

/** Bytes at the end of a disk that are never free: the backup of a GPT, the database of dynamic disks, RAID of firmwares. */
const tail = 1024n * 1024n;
/** Bytes at the start of an extended partition, where its first boot record is, written or not. */
const extendedHead = 4096n;

/**
 * The bytes of a disk that no partition has, as if all of them were one volume. Boot loaders lie before the first
 * partition, so that is none of it, nor what the table itself takes, nor the end of the disk.
 *
 * @param kept bytes that the user wants left alone
 */
export function unpartitioned(guest: Guest, kept: RangeSet): VolumeFreeSpace {
  const gaps = gapsOf(guest);
  const facts = { name: diskName, type: 'unpartitioned', size: gaps.total, wiped: false };
  const reason = whyNot(guest);
  if (reason === undefined) return { ...facts, free: gaps.subtract(kept) };
  return { ...facts, free: RangeSet.empty, leftAlone: { kind: 'refused', reason } };
}

function gapsOf({ disk, table }: Guest): RangeSet {
  const { partitions } = table;
  const [first] = partitions.map(({ offset }) => offset).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  if (first === undefined) return RangeSet.empty;
  const holders = partitions.filter(({ role }) => role === 'extended');
  const taken = RangeSet.of([
    ...partitions.filter(({ role }) => role !== 'extended'),
    ...holders.map(({ offset }) => ({ offset, length: extendedHead })),
    ...table.own,
  ]);
  const end = disk.facts.size - tail;
  return taken.complement(first, max(0n, end - first));
}

/** Why bytes that no partition has may be somebody's all the same, or nothing is known of them. */
function whyNot({ table, volumes, hibernated }: Guest): string | undefined {
  if (table.partitions.length === 0) return 'there is no partition';
  if (table.ignored !== undefined)
    return `a ${table.ignored.toUpperCase()} partition table that does not count lies there`;
  if (table.hybrid) return 'the MBR beside the GPT has partitions of its own (a hybrid MBR)';
  const [warning] = table.warnings;
  if (warning !== undefined) return `the partition table is doubtful: ${warning}`;
  const odd = volumes.find(({ partition, problem }) => partition !== undefined && problem !== undefined);
  if (odd !== undefined) return `${odd.name}: ${odd.problem}`;
  const owner = table.partitions.map(({ type }) => ownerOf(type)).find((name) => name !== undefined);
  if (owner !== undefined) return `${owner} may have volumes there`;
  return hibernated === undefined ? undefined : `the guest is hibernated: ${hibernated}`;
}
