import { viewOf } from '../../../binary/layout.js';
import {
  blockTag,
  blockTag3,
  blockTagHigh,
  journalHeader,
  revokedBlock,
  revokedBlock64,
  revokeHeader,
  tagFlags,
  tagUuidSize,
} from './on-disk.js';
import type { JournalSuperblock } from './superblock.js';

/** What a descriptor says of one of the blocks of data behind it. */
export interface Tag {
  /** Of the filesystem. */
  readonly block: bigint;
  /** As {@link tagFlags} has them. */
  readonly flags: number;
  /** crc32c of the block, as many bits as there are; without meaning in a journal that has none. */
  readonly checksum: number;
}

/** The tags of a descriptor block: up to the one that says it is the last, or as many as there is room for. */
export function readTags(journal: JournalSuperblock, descriptor: Uint8Array): Tag[] {
  const view = viewOf(descriptor);
  const room = descriptor.length - journal.tailSize;
  const tags: Tag[] = [];
  for (let at = journalHeader.size; at + journal.tagSize <= room; ) {
    const { low, high, flags, checksum } = readTag(journal, view, at);
    tags.push({
      block: (BigInt(high) << 32n) | BigInt(low),
      flags,
      checksum,
    });
    if (tagFlags.has(flags, 'last_tag')) break;
    at += journal.tagSize + (tagFlags.has(flags, 'same_uuid') ? 0 : tagUuidSize);
  }
  return tags;
}

function readTag({ checksum, wide }: JournalSuperblock, view: DataView, at: number) {
  if (checksum === 'v3') {
    const tag = blockTag3.at(view, at);
    const high = wide ? tag.t_blocknr_high : 0;
    // The kernel reads 16 of the 32 bits that it writes, and debugfs leaves something in the others.
    return { low: tag.t_blocknr, high, flags: tag.t_flags & 0xffff, checksum: tag.t_checksum };
  }
  const tag = blockTag.at(view, at);
  const high = wide ? blockTagHigh.at(view, at + blockTag.size).t_blocknr_high : 0;
  return { low: tag.t_blocknr, high, flags: tag.t_flags, checksum: tag.t_checksum };
}

/**
 * The blocks of the filesystem that a revocation block names.
 *
 * @returns undefined when its count of bytes makes no sense
 */
export function readRevoked(journal: JournalSuperblock, block: Uint8Array): bigint[] | undefined {
  const view = viewOf(block);
  const { r_count: end } = revokeHeader.at(view);
  const { size } = journal.wide ? revokedBlock64 : revokedBlock;
  if (end < revokeHeader.size || end > block.length - journal.tailSize) return undefined;
  if ((end - revokeHeader.size) % size !== 0) return undefined;
  return Array.from({ length: (end - revokeHeader.size) / size }, (_, i) => {
    const at = revokeHeader.size + i * size;
    return journal.wide ? revokedBlock64.at(view, at).block : BigInt(revokedBlock.at(view, at).block);
  });
}
