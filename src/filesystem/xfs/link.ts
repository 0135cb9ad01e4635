import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { largestLink, remoteMagics } from './file-on-disk.js';
import { blockRuns } from './fork-map.js';
import type { Inode } from './inode.js';
import { remotePart } from './remote.js';
import type { XfsVolume } from './volume.js';

/** The target of a symbolic link. @throws {DiskError} CORRUPT; IO, CANCELLED */
export async function readLink(volume: XfsVolume, inode: Inode, options: RequestOptions): Promise<Buffer> {
  const { size, data, place } = inode;
  if (size === 0n || size > largestLink) {
    throw DiskError.corrupt({ ...place, field: 'di_size', actual: size, expected: `1 to ${largestLink}` });
  }
  const length = Number(size);
  const local = data.format === 'local';
  const target = local
    ? Buffer.from(data.bytes.subarray(0, length))
    : await remoteTarget(volume, inode, length, options);
  if (target.length < length) {
    throw DiskError.corrupt({ ...place, field: 'di_size', actual: size, expected: `at most ${target.length}` });
  }
  if (target.includes(0)) throw DiskError.corrupt({ ...place, field: 'target', actual: 'one with a NUL in it' });
  return target;
}

async function remoteTarget(volume: XfsVolume, inode: Inode, length: number, options: RequestOptions): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let done = 0;
  for await (const { fileBlock, block, count } of blockRuns(volume, inode, inode.data, options)) {
    if (done === length) break;
    const most = Math.ceil((largestLink * 2) / volume.superblock.blockSize);
    if (count > most || (done === 0 && fileBlock !== 0)) {
      throw DiskError.corrupt({ ...inode.place, field: 'its blocks', actual: count, expected: `at most ${most}` });
    }
    const place = volume.place(`symbolic link, inode ${inode.number}`, volume.offsetOf(block));
    const bytes = await volume.blocks(block, count, place, options);
    const part = { magic: remoteMagics.link, block, bytes, done, left: length - done };
    parts.push(remotePart(volume, inode, part, place));
    done += parts.at(-1)?.length ?? 0;
  }
  return Buffer.concat(parts);
}
