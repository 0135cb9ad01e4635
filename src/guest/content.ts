import type { RangeSet } from '../binary/range-set.js';
import type { BlockDevice } from '../device/block-device.js';
import { hasCode } from '../error/disk-error.js';
import { openBtrfs } from '../filesystem/btrfs/btrfs.js';
import { openExt } from '../filesystem/ext/ext.js';
import type { Filesystem } from '../filesystem/filesystem.js';
import { type Match, probe } from '../filesystem/probe.js';
import type { FormatUsage } from '../filesystem/signature/signature.js';
import { openSwap, type Swap } from '../filesystem/swap/swap.js';
import { openXfs } from '../filesystem/xfs/xfs.js';

/** What a part of a disk holds. Types are spelled as blkid does. */
export type Content =
  | { readonly kind: 'filesystem'; readonly filesystem: Filesystem }
  | { readonly kind: 'swap'; readonly swap: Swap }
  /** Known by name, and not taken apart. */
  | {
      readonly kind: 'recognised';
      readonly type: string;
      readonly label: string;
      readonly uuid: string;
      readonly usage: FormatUsage;
    }
  /** A part of a volume group of LVM2. */
  | {
      readonly kind: 'physical-volume';
      readonly type: 'LVM2_member';
      /** Empty when it cannot be read. */
      readonly uuid: string;
      /** The name of its volume group; undefined when it is in none that is known. */
      readonly group?: string | undefined;
      /** What of it no logical volume has, from the start of its device. */
      readonly free?: RangeSet | undefined;
      /** Why nothing is free in it, when there is no `free`. */
      readonly leftAlone?: { readonly kind: 'refused' | 'unsupported'; readonly reason: string } | undefined;
    }
  /** Something that disktool reads, whose first structure makes no sense. */
  | { readonly kind: 'damaged'; readonly type: string; readonly reason: string }
  | { readonly kind: 'ambiguous'; readonly types: readonly string[] }
  /** The partition that the logical ones lie in. */
  | { readonly kind: 'extended' }
  | { readonly kind: 'unknown' };

/**
 * Tells what a volume holds, and opens it where disktool reads its format.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function identify(device: BlockDevice, signal: AbortSignal | undefined): Promise<Content> {
  const found = await probe(device, { signal });
  switch (found.kind) {
    case 'none':
      return { kind: 'unknown' };
    case 'ambiguous':
      return { kind: 'ambiguous', types: found.matches.map(({ type }) => type) };
    case 'one':
      return open(device, found.match, signal);
  }
}

async function open(device: BlockDevice, match: Match, signal: AbortSignal | undefined): Promise<Content> {
  const { type, label, uuid, usage } = match;
  try {
    if (type === 'xfs') return { kind: 'filesystem', filesystem: await openXfs(device) };
    if (type === 'btrfs') return { kind: 'filesystem', filesystem: await openBtrfs(device) };
    if (type === 'ext') return { kind: 'filesystem', filesystem: await openExt(device) };
    if (type === 'swap' || type === 'swsuspend') return { kind: 'swap', swap: await openSwap(device, { signal }) };
  } catch (error) {
    if (hasCode(error, 'CORRUPT')) return { kind: 'damaged', type, reason: error.message };
    if (!hasCode(error, 'UNSUPPORTED')) throw error;
  }
  return { kind: 'recognised', type, label, uuid, usage };
}

/** Why a volume's content cannot be what it says, by its size; both in bytes. */
export function sizeProblem(content: Content, size: bigint): string | undefined {
  const own =
    content.kind === 'filesystem'
      ? content.filesystem.size
      : content.kind === 'swap' && content.swap.state.kind === 'clean'
        ? content.swap.size
        : 0n;
  return own > size
    ? `what it holds says that it has ${own} bytes, and there are only ${size}: the image may be cut short`
    : undefined;
}

/** One word for what a volume holds, as blkid spells it where that has a word. */
export function typeOfContent(content: Content): string {
  switch (content.kind) {
    case 'filesystem':
      return content.filesystem.type;
    case 'swap':
      return content.swap.type;
    case 'recognised':
    case 'physical-volume':
    case 'damaged':
      return content.type;
    case 'ambiguous':
      return content.types.join('/');
    case 'extended':
    case 'unknown':
      return content.kind;
  }
}

/** Label and UUID of what a volume holds; empty where it has none. */
export function namesOf(content: Content): { readonly label: string; readonly uuid: string } {
  switch (content.kind) {
    case 'filesystem':
      return { label: content.filesystem.label, uuid: content.filesystem.uuid };
    case 'swap':
      return { label: content.swap.label, uuid: content.swap.uuid };
    case 'recognised':
      return { label: content.label, uuid: content.uuid };
    case 'physical-volume':
      return { label: '', uuid: content.uuid };
    default:
      return { label: '', uuid: '' };
  }
}
