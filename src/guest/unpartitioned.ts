import { max } from '../binary/convert.js';
import { RangeSet } from '../binary/range-set.js';
import { probe } from '../filesystem/probe.js';
import { osType } from '../volume/mbr/on-disk.js';
import type { Partition } from '../volume/partition.js';
import { ownerOf } from '../volume/partition-type.js';
import { diskName } from './device-name.js';
import type { VolumeFreeSpace } from './free-space.js';
import { type Guest, hybrids } from './guest.js';

/** Bytes at the end of a disk that are never free: the backup of a GPT, the database of dynamic disks, RAID of firmwares. */
const tail = 1024n * 1024n;
/**
 * Bytes from each boot record of an extended partition on, as far as no drive begins before: the rest of its track, where
 * OS/2 keeps what it knows of the drive in the last sector, and boot managers lie. A track has at most 63 sectors; today's
 * tables put a MiB in its place.
 */
const track = 1024n * 1024n;
/** Bytes: formats that share a disk with a table have their signatures before. */
const signatures = 1024n * 1024n;

/** Types of MBR partitions with a disklabel in them that may name parts outside, and whose it is. */
const labelled: Readonly<Record<string, string>> = {
  [`0x${osType.FREEBSD.toString(16)}`]: 'FreeBSD',
  [`0x${osType.OPENBSD.toString(16)}`]: 'OpenBSD',
  [`0x${osType.NETBSD.toString(16)}`]: 'NetBSD',
};

/**
 * The bytes of a disk that no partition has, as if all of them were one volume. Boot loaders lie before the first
 * partition, so that is none of it, nor what the table itself takes, nor the end of the disk.
 *
 * @param kept bytes that the user wants left alone
 * @throws {DiskError} IO, CANCELLED
 */
export async function unpartitioned(
  guest: Guest,
  kept: RangeSet,
  signal: AbortSignal | undefined,
): Promise<VolumeFreeSpace> {
  const gaps = gapsOf(guest);
  const facts = { name: diskName, type: 'unpartitioned', size: gaps.total, wiped: false };
  const reason = whyNot(guest) ?? (await sharedWith(guest, signal));
  if (reason === undefined) return { ...facts, free: gaps.subtract(kept) };
  return { ...facts, free: RangeSet.empty, leftAlone: { kind: 'refused', reason } };
}

function gapsOf({ disk, table }: Guest): RangeSet {
  const { partitions } = table;
  const [first] = partitions.map(({ offset }) => offset).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  if (first === undefined) return RangeSet.empty;
  const records = new Set(table.own.map(({ offset }) => offset));
  // Without its first boot record, nobody knows what is in an extended partition.
  const isRead = ({ role, offset }: Partition) => role === 'extended' && records.has(offset);
  const [holders, others] = [partitions.filter(isRead), partitions.filter((partition) => !isRead(partition))];
  const tracks = table.own.map(({ offset }) => ({ offset, length: track }));
  const inHolders = RangeSet.of(tracks).intersect(RangeSet.of(holders));
  const taken = RangeSet.of([...others, ...table.own, ...inHolders]);
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
  const label = table.partitions.map(({ type }) => labelled[type]).find((name) => name !== undefined);
  if (label !== undefined) return `the disklabel of ${label} may have partitions there`;
  return hibernated === undefined ? undefined : `the guest is hibernated: ${hibernated}`;
}

/** The files of an ISO image lie anywhere on the disk, and its table has only what firmware starts from. */
async function sharedWith({ disk, table }: Guest, signal: AbortSignal | undefined): Promise<string | undefined> {
  const covered = RangeSet.of(table.partitions).clip(signatures, disk.facts.size);
  const found = await probe(disk, { signal, covered });
  const matches = found.kind === 'none' ? [] : found.kind === 'one' ? [found.match] : found.matches;
  const types = matches.map(({ type }) => type).filter((type) => hybrids.has(type));
  return types.length === 0
    ? undefined
    : `the disk as a whole is ${types.join(' and ')} too: files of it may lie there`;
}
