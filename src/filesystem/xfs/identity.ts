import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import { checkCrc } from './checksum.js';
import { basicBlock } from './on-disk.js';
import type { XfsVolume } from './volume.js';

/** What a block of version 5 says of itself. */
export interface Identity {
  /** What the names of its fields begin with. */
  readonly prefix: string;
  /** Bytes from its start to its checksum. */
  readonly crc: number;
  readonly uuid: Uint8Array;
  /** The inode, or the group, that it belongs to. */
  readonly owner: number | bigint;
  /** Where it lies, in blocks of 512 bytes. */
  readonly blkno: bigint;
}

/**
 * Checks that a block is whole, and what it is taken for: of this filesystem, of this owner, and not a copy of another.
 *
 * @param offset bytes from the start of the device to it
 * @throws {DiskError} CORRUPT
 */
export function checkIdentity(
  volume: XfsVolume,
  bytes: Uint8Array,
  { prefix, crc, uuid, owner, blkno }: Identity,
  expected: { readonly owner: number | bigint; readonly offset: bigint },
  place: Place,
): void {
  checkCrc(bytes, crc, { ...place, field: `${prefix}crc` });
  checkUuid(volume, uuid, { ...place, field: `${prefix}uuid` });
  if (owner !== expected.owner) {
    throw DiskError.corrupt({ ...place, field: `${prefix}owner`, actual: owner, expected: expected.owner });
  }
  const address = expected.offset / BigInt(basicBlock);
  if (blkno !== address) {
    throw DiskError.corrupt({ ...place, field: `${prefix}blkno`, actual: blkno, expected: address });
  }
}

/** What every structure of version 5 names. @throws {DiskError} CORRUPT */
export function checkUuid({ superblock }: XfsVolume, actual: Uint8Array, place: Place): void {
  if (Buffer.compare(actual, superblock.metaUuid) === 0) return;
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  throw DiskError.corrupt({ ...place, actual: text(actual), expected: text(superblock.metaUuid) });
}
