import type { RequestOptions } from '../../device/block-device.js';
import type { FileExtent } from '../file.js';
import { type BlockRun, blockRuns } from './block-runs.js';
import { openEaInode } from './ea-inode.js';
import { inodeFlags } from './file-on-disk.js';
import { inlineContent } from './inline-data.js';
import type { Inode } from './inode.js';
import type { ExtVolume } from './volume.js';
import { allXattrs } from './xattr.js';

const plain = { unwritten: false, inline: false, encoded: false };

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
  if (content === 'blocks') yield* runExtents(volume, blockRuns(volume, inode, options), encoded);
  if (inode.xattrBlock !== 0) {
    const run = { role: 'map', fileBlock: 0, block: inode.xattrBlock, count: 1, unwritten: false } as const;
    volume.checkBlocks(run.block, 1, { ...inode.place, field: 'i_file_acl' });
    yield metadataExtent(volume, run);
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
    yield { ...plain, role: 'content', fileOffset, fileLength: length, offset: at, length, inline: true, encoded };
    fileOffset += length;
  }
}

async function* runExtents(
  volume: ExtVolume,
  runs: AsyncIterable<BlockRun>,
  encoded: boolean,
): AsyncGenerator<FileExtent> {
  for await (const run of runs) {
    const { role, fileBlock, unwritten } = run;
    if (role === 'map') yield metadataExtent(volume, run);
    else {
      const place = placeOf(volume, run);
      const fileOffset = volume.offsetOf(fileBlock);
      yield { ...plain, role, fileOffset, fileLength: place.length, ...place, unwritten, encoded };
    }
  }
}

function metadataExtent(volume: ExtVolume, run: BlockRun): FileExtent {
  return { ...plain, role: 'metadata', fileOffset: 0n, fileLength: 0n, ...placeOf(volume, run) };
}

function placeOf(volume: ExtVolume, { block, count }: BlockRun): { readonly offset: bigint; readonly length: bigint } {
  return { offset: volume.offsetOf(block), length: volume.offsetOf(count) };
}
