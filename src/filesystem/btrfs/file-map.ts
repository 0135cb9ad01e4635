import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { FileExtent } from '../file.js';
import { decompress } from './decompress.js';
import { type FilePart, fileParts } from './file-extents.js';
import type { Inode } from './inode.js';
import type { BtrfsVolume } from './volume.js';

/**
 * Where the content of an inode lies. A second copy of it, where there is one, is told as metadata: it is read when the
 * first is damaged. Names and attributes lie in the blocks of trees, which are the filesystem's.
 *
 * @throws {DiskError} as {@link fileParts}
 */
export async function* fileMapOf(
  volume: BtrfsVolume,
  inode: Inode,
  options: RequestOptions,
): AsyncGenerator<FileExtent, void, undefined> {
  for await (const part of fileParts(volume, inode, options)) {
    const { fileOffset, fileLength, length, places, unwritten, compression } = part;
    const [offset, ...copies] = places;
    const inline = part.inline !== undefined;
    const encoded = compression !== 'none';
    yield { role: 'content', fileOffset, fileLength, offset, length, unwritten, inline, encoded };
    for (const copy of copies) {
      const own = { fileOffset: 0n, fileLength: 0n, offset: copy, length };
      yield { role: 'metadata', ...own, unwritten, inline: false, encoded };
    }
  }
}

/** The content of a part that is compressed or lies in its item. @throws {DiskError} CORRUPT; IO, CANCELLED */
export async function contentOfPart(volume: BtrfsVolume, part: FilePart, options: RequestOptions): Promise<Uint8Array> {
  const { compression, inline, skip, whole, fileLength, place } = part;
  const { sectorSize } = volume.superblock;
  const length = Number(part.length);
  if (compression === 'none') return inline ?? (await volume.bytes(part.places[0], length, place, options));
  let failure: unknown;
  for (const offset of part.places) {
    const bytes = inline ?? (await volume.bytes(offset, length, place, options));
    try {
      const content = await decompress(compression, bytes, { size: whole, sectorSize, place });
      return content.subarray(skip, skip + Number(fileLength));
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure;
}

/** The content of the part that begins at an offset. @throws {DiskError} CORRUPT; IO, CANCELLED */
export async function decodePart(
  volume: BtrfsVolume,
  inode: Inode,
  fileOffset: bigint,
  options: RequestOptions,
): Promise<Uint8Array> {
  for await (const part of fileParts(volume, inode, options, fileOffset)) {
    if (part.fileOffset === fileOffset) return await contentOfPart(volume, part, options);
    break;
  }
  throw DiskError.corrupt({ ...inode.place, field: `part at ${fileOffset}`, actual: 'no longer there' });
}
