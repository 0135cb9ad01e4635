import { createHash } from 'node:crypto';
import { crc32c } from '@node-rs/crc32';
import { blake2b256 } from '../../binary/blake2b.js';
import { viewOf } from '../../binary/layout.js';
import { xxhash64 } from '../../binary/xxhash64.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';

/** Bytes that a checksum may take, at the start of each structure. */
export const checksumRoom = 32;

export interface Checksum {
  readonly name: string;
  /** Of bytes, as they lie on the disk. */
  readonly of: (bytes: Uint8Array) => Uint8Array;
}

/** By csum_type: "On-disk Format", Superblock. */
export const checksums: readonly Checksum[] = [
  { name: 'crc32c', of: (bytes) => little(4, (view) => view.setUint32(0, crc32c(bytes), true)) },
  { name: 'xxhash64', of: (bytes) => little(8, (view) => view.setBigUint64(0, xxhash64(bytes), true)) },
  { name: 'sha256', of: (bytes) => createHash('sha256').update(bytes).digest() },
  { name: 'blake2b', of: blake2b256 },
];

function little(size: number, put: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  put(viewOf(bytes));
  return bytes;
}

/**
 * Checks the checksum that a structure begins with: of all that is behind the room for it.
 *
 * @throws {DiskError} CORRUPT
 */
export function checkChecksum({ of }: Checksum, structure: Uint8Array, place: Place): void {
  const expected = of(structure.subarray(checksumRoom));
  const actual = structure.subarray(0, expected.length);
  if (Buffer.compare(actual, expected) === 0) return;
  const [found, wanted] = [actual, expected].map((bytes) => Buffer.from(bytes).toString('hex'));
  throw DiskError.corrupt({ ...place, field: 'csum', actual: found, expected: wanted });
}
