import type { RequestOptions } from '../../device/block-device.js';
import type { FileExtent } from '../file.js';
import { directoryIndex } from './file-on-disk.js';
import { type BlockRun, blockRuns } from './fork-map.js';
import type { Fork, Inode } from './inode.js';
import type { XfsVolume } from './volume.js';

/**
 * Where an inode's content and its own metadata lie: of a directory, its entries are content and their index is metadata;
 * so are the blocks of extent trees and of attributes.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* fileMapOf(
  volume: XfsVolume,
  inode: Inode,
  options: RequestOptions,
): AsyncGenerator<FileExtent, void, undefined> {
  const { data, attributes } = inode;
  if (data.format === 'local' && inode.size > 0n) yield inlineExtent(inode);
  if (data.format === 'extents' || data.format === 'btree') yield* content(volume, inode, data, options);
  if (attributes === undefined || attributes.format === 'local') return;
  for await (const run of blockRuns(volume, inode, attributes, options)) yield metadataExtent(volume, run);
}

async function* content(volume: XfsVolume, inode: Inode, data: Fork, options: RequestOptions) {
  for await (const run of blockRuns(volume, inode, data, options)) {
    const fileOffset = volume.offsetOf(run.fileBlock);
    const index = inode.type === 'directory' && fileOffset >= directoryIndex;
    if (run.role === 'map' || index) yield metadataExtent(volume, run);
    else yield contentExtent(volume, run);
  }
}

function contentExtent(volume: XfsVolume, { fileBlock, block, count, unwritten }: BlockRun): FileExtent {
  const { offset, length } = volume.rangeOf(block, count);
  const place = { fileOffset: volume.offsetOf(fileBlock), fileLength: length, offset, length };
  return { role: 'content', ...place, unwritten, inline: false, encoded: false };
}

function metadataExtent(volume: XfsVolume, { block, count }: BlockRun): FileExtent {
  const place = { fileOffset: 0n, fileLength: 0n, ...volume.rangeOf(block, count) };
  return { role: 'metadata', ...place, unwritten: false, inline: false, encoded: false };
}

function inlineExtent({ data, size, place }: Inode): FileExtent {
  const length = size < BigInt(data.bytes.length) ? size : BigInt(data.bytes.length);
  const where = { fileOffset: 0n, fileLength: length, offset: place.offset + BigInt(data.start), length };
  return { role: 'content', ...where, unwritten: false, inline: true, encoded: false };
}
