import { min } from '../../binary/convert.js';
import { RangeSet } from '../../binary/range-set.js';
import { typeOfContent } from '../../guest/content.js';
import { diskName } from '../../guest/device-name.js';
import type { Guest, Volume } from '../../guest/guest.js';
import type { NotSurveyed } from './survey.js';

/** Bytes of a disk that no file, no metadata, no swap space has, and that no filesystem calls free. */
export interface Unowned {
  /**
   * `partition-table`: they are the table's. `unpartitioned`: no partition has them. `unused`: nothing of the volume reaches
   * there. `unmapped`: somebody may have them, and disktool cannot tell. `unexplained`: nobody should.
   */
  readonly kind: 'partition-table' | 'unpartitioned' | 'unused' | 'unmapped' | 'unexplained';
  /** The innermost volume that they lie in. */
  readonly device: string;
  /** One clause. */
  readonly reason: string;
  /** On the disk. */
  readonly bytes: RangeSet;
}

/**
 * Why bytes are nobody's, by where they lie. Of a byte that nobody has, the first one that holds it is the reason: what
 * lies in other volumes comes before those.
 *
 * @param leftOut what was not told of the guest
 */
export function* unownedPlaces(guest: Guest, leftOut: readonly NotSurveyed[]): Generator<Unowned, void, undefined> {
  const { disk, table, volumes } = guest;
  yield {
    kind: 'partition-table',
    device: diskName,
    reason: 'the partition table',
    bytes: RangeSet.of(table.own),
  };
  for (const volume of [...volumes].sort((a, b) => depthOf(b) - depthOf(a))) yield* placesIn(guest, volume, leftOut);
  const none = { kind: 'unpartitioned', device: diskName } as const;
  const all = RangeSet.of([{ offset: 0n, length: disk.facts.size }]);
  const first = table.partitions.reduce((least, { offset }) => min(least, offset), disk.facts.size);
  const head = all.clip(0n, first);
  yield { ...none, reason: 'it is before the first partition, where boot loaders lie', bytes: head };
  yield { ...none, reason: 'it is in no partition', bytes: all };
}

/** How many volumes hold it: a partition for a logical volume, the extended one for a logical drive. */
function depthOf({ logical, partition }: Volume): number {
  if (logical !== undefined) return 3;
  return partition === undefined ? 0 : partition.role === 'logical' ? 2 : 1;
}

function* placesIn(guest: Guest, volume: Volume, leftOut: readonly NotSurveyed[]): Generator<Unowned> {
  const { name: device, content, placement } = volume;
  const { all } = placement;
  const upTo = (length: bigint) => placement.toDisk(RangeSet.of([{ offset: 0n, length }]));
  switch (content.kind) {
    case 'filesystem': {
      const { type, size } = content.filesystem;
      const why = leftOut.filter((part) => part.device === device);
      yield { ...explain(type, why), device, bytes: upTo(size) };
      yield { kind: 'unused', device, reason: `it is behind the end of the ${type}`, bytes: all };
      return;
    }
    case 'swap':
      yield { kind: 'unused', device, reason: 'it is behind the end of the swap space', bytes: all };
      return;
    case 'physical-volume': {
      const { group, free } = content;
      const where = group === undefined ? 'a volume group' : `the volume group ${group}`;
      if (free !== undefined) {
        const bytes = placement.toDisk(free);
        yield { kind: 'unused', device, reason: `it is in ${where}, and no logical volume has it`, bytes };
      }
      yield { kind: 'unmapped', device, reason: `it is in ${where}: ${inGroup(guest, group)}`, bytes: all };
      return;
    }
    case 'extended':
      yield { kind: 'unpartitioned', device, reason: 'it is in no logical partition', bytes: all };
      return;
    case 'unknown':
      yield { kind: 'unmapped', device, reason: `nothing in ${device} is recognised`, bytes: all };
      return;
    default:
      yield {
        kind: 'unmapped',
        device,
        reason: `${device} holds ${typeOfContent(content)}, of which nothing is mapped`,
        bytes: all,
      };
  }
}

function explain(type: string, leftOut: readonly NotSurveyed[]): Pick<Unowned, 'kind' | 'reason'> {
  const [whole] = leftOut.filter(({ path }) => path === undefined);
  if (whole !== undefined) return { kind: 'unmapped', reason: `the ${type} is not mapped: ${whole.reason}` };
  if (leftOut.length > 0) {
    return { kind: 'unmapped', reason: `the ${type} has damaged files, of which it may be` };
  }
  const reason = `the ${type} neither uses it nor calls it free: the end of a cluster, or of a file that was deleted while open`;
  return { kind: 'unexplained', reason };
}

/** What of a volume group has the bytes that none of its volumes that are taken apart has. */
function inGroup({ left }: Guest, group: string | undefined): string {
  const names = left.filter(({ logical }) => logical.group === group).map(({ name }) => name);
  const rest = names.length === 0 ? '' : `, or of ${names.slice(0, 20).join(', ')}, which cannot be taken apart`;
  return `its own metadata${rest}`;
}
