import type { RequestOptions } from '../../device/block-device.js';
import type { FileExtent } from '../file.js';
import { type BlockRun, blockRuns } from './block-runs.js';
import { openEaInode } from './ea-inode.js';
import { inodeFlags } from './file-on-disk.js';
import { inlineContent } from './inline-data.js';
import type { Inode } from './inode.js';
import type { ExtVolume } from './volume.js';
import { allXattrs } from './xattr.js';

/**
 * Where an inode's content and its own metadata lie: blocks of its map, of its extended attributes, and of those
 * attributes that have inodes of their own.
 *
 * @param content where its content is
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* fileMapOf(
  volume: ExtVolume,
  inode: Inode,
  content: 'inline' | 'blocks' | 'none',
  options: RequestOptions,
): AsyncGenerator<FileExtent, void, undefined> {
  const encoded = inodeFlags.has(inode.flags, 'ENCRYPT');
  if (content === 'inline') yield* inlineExtents(inode, encoded);
  if (content === 'blocks') {
    for await (const run of blockRuns(volume, inode, options)) yield runExtent(volume, run, encoded);
  }
  if (inode.xattrBlock !== 0) {
    volume.checkBlocks(inode.xattrBlock, 1, { ...inode.place, field: 'i_file_acl' });
    yield metadataExtent(volume, { block: inode.xattrBlock, count: 1 });
  }
  for (const entry of await allXattrs(volume, inode, options)) {
    if (entry.valueInode === 0) continue;
    const value = await openEaInode(volume, inode, entry, options);
    for await (const run of blockRuns(volume, value, options)) yield metadataExtent(volume, run);
  }
}

function* inlineExtents(inode: Inode, encoded: boolean): Generator<FileExtent> {
  const { offset = 0n } = inode.place;
  let fileOffset = 0n;
  for (const { start, bytes } of inlineContent(inode, inode.size)) {
    const length = BigInt(bytes.length);
    const at = offset + BigInt(start);
    const place = { fileOffset, fileLength: length, offset: at, length };
    yield { role: 'content', ...place, unwritten: false, inline: true, encoded };
    fileOffset += length;
  }
}

function runExtent(volume: ExtVolume, run: BlockRun, encoded: boolean): FileExtent {
  const { role, fileBlock, block, count, unwritten } = run;
  if (role === 'map') return metadataExtent(volume, run);
  const length = volume.offsetOf(count);
  return {
    role,
    fileOffset: volume.offsetOf(fileBlock),
    fileLength: length,
    offset: volume.offsetOf(block),
    length,
    unwritten,
    inline: false,
    encoded,
  };
}

function metadataExtent(volume: ExtVolume, { block, count }: Pick<BlockRun, 'block' | 'count'>): FileExtent {
  return {
    role: 'metadata',
    fileOffset: 0n,
    fileLength: 0n,
    offset: volume.offsetOf(block),
    length: volume.offsetOf(count),
    unwritten: false,
    inline: false,
    encoded: false,
  };
}
