import { crc32c } from '@node-rs/crc32';
import { viewOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';

/**
 * Checks the crc32c that a structure carries of itself, little-endian, with zeros in its own place.
 *
 * @param offset bytes from the start of the structure to the checksum
 * @throws {DiskError} CORRUPT
 */
export function checkCrc(structure: Uint8Array, offset: number, place: Place): void {
  const actual = viewOf(structure).getUint32(offset, true);
  const expected = crcWithout(structure, offset);
  if (actual !== expected) throw DiskError.corrupt({ ...place, actual: hex(actual), expected: hex(expected) });
}

/** The crc32c of a structure with zeros in the four bytes at `offset`, continued from `seed`. */
export function crcWithout(structure: Uint8Array, offset: number, seed = 0): number {
  const before = crc32c(structure.subarray(0, offset), seed);
  return crc32c(structure.subarray(offset + 4), crc32c(zeros, before));
}

const zeros = new Uint8Array(4);
