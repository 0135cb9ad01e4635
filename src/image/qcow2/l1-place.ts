import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import { entryBits, extendedEntryBits, mostL1Entries } from './on-disk.js';

/** Where an L1 table lies: aligned, and all of it inside the file. */
export interface L1Place {
  /** Bytes from the start of the file. */
  readonly offset: bigint;
  /** Entries, as far as the disk reaches: behind it lies the state of the machine. */
  readonly count: number;
}

export interface L1Claim {
  readonly offset: bigint;
  readonly count: number;
  /** Bytes of the virtual disk. */
  readonly diskSize: bigint;
  /** Whether it must reach to the end of the disk. That of a snapshot need not: what it lacks is not allocated. */
  readonly entireDisk: boolean;
}

export interface L1Surroundings {
  readonly clusterSize: number;
  readonly extendedL2: boolean;
  readonly fileSize: bigint;
  /** The structure that names the table. */
  readonly place: Place;
}

/** log2 of the bytes of disk that one L2 table tells of. */
export function coverageBits(clusterSize: number, extendedL2: boolean): number {
  return 2 * Math.log2(clusterSize) - (extendedL2 ? extendedEntryBits : entryBits);
}

/**
 * Checks what a structure says of an L1 table.
 *
 * @throws {DiskError} CORRUPT; UNSUPPORTED when it is larger than QEMU's largest
 */
export function checkL1({ offset, count, diskSize, entireDisk }: L1Claim, around: L1Surroundings): L1Place {
  const { clusterSize, extendedL2, fileSize, place } = around;
  const shift = BigInt(coverageBits(clusterSize, extendedL2));
  const needed = (diskSize + (1n << shift) - 1n) >> shift;
  if (needed > BigInt(mostL1Entries)) {
    const expected = `at most ${BigInt(mostL1Entries) << shift}, with clusters of ${clusterSize} bytes`;
    throw DiskError.unsupported({ ...place, field: entireDisk ? 'size' : 'disk_size', actual: diskSize, expected });
  }
  if (count > mostL1Entries) {
    throw DiskError.unsupported({ ...place, field: 'l1_size', actual: count, expected: `at most ${mostL1Entries}` });
  }
  if (entireDisk && BigInt(count) < needed) {
    const expected = `at least ${needed}, for ${diskSize} bytes`;
    throw DiskError.corrupt({ ...place, field: 'l1_size', actual: count, expected });
  }
  if (count === 0) return { offset: 0n, count: 0 };
  const wrong = (expected: string) =>
    DiskError.corrupt({ ...place, field: 'l1_table_offset', actual: hex(offset), expected });
  if (offset === 0n || offset % BigInt(clusterSize) !== 0n) throw wrong(`a multiple of ${clusterSize}, above 0`);
  if (offset + BigInt(count) * 8n > fileSize) {
    throw wrong(`a table of ${count} entries inside the file of ${fileSize} bytes`);
  }
  return { offset, count: Math.min(count, Number(needed)) };
}
