import { roundDown } from '../binary/convert.js';
import { viewOf } from '../binary/layout.js';
import type { RangeSet } from '../binary/range-set.js';
import type { BlockDevice } from '../device/block-device.js';
import { DeviceReader } from './device-reader.js';
import { containers } from './signature/containers.js';
import { filesystems } from './signature/filesystems.js';
import type { FormatUsage, Identity, Mark, Signature } from './signature/signature.js';
import { findZfs } from './signature/zfs.js';

/** A format whose signature is on a device. */
export interface Match {
  /** As blkid spells it; `ext` for ext2, ext3 and ext4, which their flags tell apart. */
  readonly type: string;
  readonly usage: FormatUsage;
  /** Empty when there is none, or when it is not in the format's first structure. */
  readonly label: string;
  /** As blkid spells it; empty when there is none. */
  readonly uuid: string;
  /** Bytes from the start of the device to the structure. */
  readonly offset: bigint;
}

/** What a device seems to hold. */
export type Probe =
  | { readonly kind: 'none' }
  | { readonly kind: 'one'; readonly match: Match }
  /** More than one format claims it, and none of them can hold the other. */
  | { readonly kind: 'ambiguous'; readonly matches: readonly Match[] };

export interface ProbeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes that belong to somebody else, the partitions of a disk: signatures in them are not the device's own. */
  readonly covered?: RangeSet | undefined;
}

/**
 * Tells what a device holds by the signatures of every format that may stand in a partition. It looks for all of them,
 * and never stops at the first: what an earlier use has left behind must not be taken for what is there.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function probe(device: BlockDevice, { signal, covered }: ProbeOptions = {}): Promise<Probe> {
  const reader = new DeviceReader(device, signal);
  const { size } = device.facts;
  const found: Found[] = [];
  for (const signature of [...containers, ...filesystems]) {
    const match = await findSignature(reader, size, signature, covered);
    if (match !== undefined) found.push({ match, signature });
  }
  const zfs = await findZfs(reader, size);
  if (zfs !== undefined && covered?.has(zfs) !== true) {
    const match: Match = { type: 'zfs_member', usage: 'filesystem', label: '', uuid: '', offset: zfs };
    found.push({ match, signature: { type: 'zfs_member', usage: 'filesystem', marks: [] } });
  }
  return decide(found);
}

interface Found {
  readonly match: Match;
  readonly signature: Signature;
}

/** What is left when each format has claimed what is its own. */
function decide(found: readonly Found[]): Probe {
  const strong = found.filter(({ signature }) => signature.weak !== true);
  const counted = strong.length === 0 ? found : strong;
  const outermost = counted.find(({ signature }) => signature.hides?.includes('*'));
  if (outermost !== undefined) return { kind: 'one', match: outermost.match };
  const hidden = new Set(counted.flatMap(({ signature }) => signature.hides ?? []));
  const matches = counted
    .map(({ match }) => match)
    .filter(({ type }) => !hidden.has(type))
    .filter(({ type }, i, all) => all.findIndex((other) => other.type === type) === i);
  const [first, second] = matches;
  if (first === undefined) return { kind: 'none' };
  return second === undefined ? { kind: 'one', match: first } : { kind: 'ambiguous', matches };
}

async function findSignature(
  reader: DeviceReader,
  size: bigint,
  signature: Signature,
  covered: RangeSet | undefined,
): Promise<Match | undefined> {
  for (const mark of signature.marks) {
    const offset = mark.from === 'start' ? mark.base : roundDown(size, mark.unit) - mark.base;
    if (covered?.has(offset + BigInt(mark.inside)) === true) continue;
    const identity = await inspect(reader, size, signature, mark, offset);
    if (identity === undefined) continue;
    const { type = signature.type, label = '', uuid = '' } = identity;
    return { type, usage: signature.usage, label, uuid, offset };
  }
  return undefined;
}

async function inspect(
  reader: DeviceReader,
  size: bigint,
  signature: Signature,
  mark: Mark,
  offset: bigint,
): Promise<Identity | undefined> {
  const magic = await reader.bytes(offset + BigInt(mark.inside), mark.magic.length);
  if (magic === undefined || Buffer.compare(magic, mark.magic) !== 0) return undefined;
  if (signature.inspect === undefined || signature.size === undefined) return {};
  const structure = await reader.bytes(offset, signature.size);
  return structure === undefined ? {} : signature.inspect(viewOf(structure), { offset, size });
}
