import { promisify } from 'node:util';
import { inflate } from 'node:zlib';
import { viewOf } from '../../binary/layout.js';
import { decompressLzo } from '../../binary/lzo.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import { zstdDecompressFrame } from '../../host/zstd.js';
import type { Compression } from './file-on-disk.js';

const inflateAsync = promisify(inflate);

/**
 * Decompresses an extent: to all that it stands for, of which zeros at the end need not be there.
 *
 * @param size bytes
 * @throws {DiskError} CORRUPT when it is damaged, or more comes of it
 */
export async function decompress(
  compression: Exclude<Compression, 'none'>,
  bytes: Uint8Array,
  { size, sectorSize, place }: { readonly size: number; readonly sectorSize: number; readonly place: Place },
): Promise<Uint8Array> {
  const content = new Uint8Array(size);
  try {
    if (compression === 'lzo') decompressSegments(bytes, content, sectorSize);
    else if (compression === 'zstd') content.set(await zstdDecompressFrame(bytes, size));
    else content.set(await inflateAsync(bytes, { maxOutputLength: size }));
  } catch (error) {
    throw DiskError.corrupt({ ...place, field: `what ${compression} compressed`, actual: 'damaged' }, error);
  }
  return content;
}

/** Bytes of each length. */
const lengthSize = 4;

/**
 * LZO as btrfs keeps it: the length of all, then a segment for each sector of content behind its length, which lies
 * within one sector. fs/btrfs/lzo.c, its first comment.
 */
function decompressSegments(bytes: Uint8Array, into: Uint8Array, sectorSize: number): void {
  const view = viewOf(bytes);
  const total = view.getUint32(0, true);
  if (total > bytes.length) throw new RangeError('the segments are cut short');
  let filled = 0;
  for (let at = lengthSize; at + lengthSize <= total && filled < into.length; ) {
    const left = sectorSize - (at % sectorSize);
    if (left < lengthSize) at += left;
    if (at + lengthSize > total) break;
    const length = view.getUint32(at, true);
    const start = at + lengthSize;
    if (start + length > total) throw new RangeError('a segment is cut short');
    filled += decompressLzo(bytes.subarray(start, start + length), into.subarray(filled, filled + sectorSize));
    at = start + length;
  }
}
