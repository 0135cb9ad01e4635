import { viewOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import { remoteHeader } from './file-on-disk.js';
import { checkIdentity } from './identity.js';
import type { Inode } from './inode.js';
import type { XfsVolume } from './volume.js';

/**
 * What blocks of a symbolic link, or of the value of an attribute, hold of it: since version 5 there is a header before.
 *
 * @param block of the device, where `bytes` lie
 * @param done bytes that have been found before
 * @param left bytes that are still to come
 * @throws {DiskError} CORRUPT
 */
export function remotePart(
  volume: XfsVolume,
  inode: Inode,
  { magic, block, bytes, done, left }: RemotePart,
  place: Place,
): Uint8Array {
  if (volume.superblock.version < 5) return bytes.subarray(0, left);
  const header = remoteHeader.at(viewOf(bytes));
  const wrong = (field: string, actual: string | number | bigint, expected: string | number | bigint) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  if (header.rm_magic !== magic) throw wrong('rm_magic', hex(header.rm_magic), hex(magic));
  const { rm_uuid: uuid, rm_owner: owner, rm_blkno: blkno } = header;
  const own = { prefix: 'rm_', crc: remoteHeader.fields.rm_crc.offset, uuid, owner, blkno };
  checkIdentity(volume, bytes, own, { owner: inode.number, offset: volume.offsetOf(block) }, place);
  if (header.rm_offset !== done) throw wrong('rm_offset', header.rm_offset, done);
  const length = Math.min(left, bytes.length - remoteHeader.size);
  if (header.rm_bytes !== length) throw wrong('rm_bytes', header.rm_bytes, length);
  return bytes.subarray(remoteHeader.size, remoteHeader.size + length);
}

export interface RemotePart {
  readonly magic: number;
  readonly block: number;
  readonly bytes: Uint8Array;
  readonly done: number;
  readonly left: number;
}
