import { roundUp } from '../../../binary/convert.js';
import { DiskError } from '../../../error/disk-error.js';
import { coverageBits } from '../l1-place.js';
import {
  entryBits,
  largestClusterBits,
  longestBackingFile,
  longestBackingFormat,
  mostL1Entries,
  smallestClusterBits,
} from '../on-disk.js';

export type Qcow2Compression = 'none' | 'zlib' | 'zstd';

/** How an image keeps its disk. */
export interface Qcow2Layout {
  /** Bytes: a power of two from 512 to 2 MiB, 64 KiB unless told. */
  readonly clusterSize?: number | undefined;
  readonly compression?: Qcow2Compression | undefined;
}

export interface Qcow2WriterOptions extends Qcow2Layout {
  /** Bytes of the disk. The image has whole sectors of 512: of anything else, QEMU would cut off the end. */
  readonly size: bigint;
  /** What shows wherever nothing is written. */
  readonly backing?: Qcow2Backing | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Qcow2Backing {
  /** As the image will name it. */
  readonly file: string;
  /** As QEMU names it. */
  readonly format: string;
}

/** What an image will be, checked. */
export interface Qcow2Plan {
  /** Bytes of the disk, as asked for. */
  readonly diskSize: bigint;
  /** Bytes of the disk, as the image tells them: whole sectors. */
  readonly virtualSize: bigint;
  readonly clusterSize: number;
  readonly clusterBits: number;
  readonly compression: Qcow2Compression;
  readonly backing: Qcow2Backing | undefined;
  readonly l1Entries: number;
  /** Entries of each L2 table. */
  readonly l2Entries: number;
}

const defaultClusterSize = 65536;
const sector = 512n;

/**
 * Checks what is asked for.
 *
 * @throws {DiskError} USAGE for clusters and backing files that qcow2 has not; UNSUPPORTED for disks past QEMU's largest
 */
export function planQcow2({
  size,
  clusterSize = defaultClusterSize,
  compression = 'none',
  backing,
}: Qcow2WriterOptions): Qcow2Plan {
  const clusterBits = Math.log2(clusterSize);
  if (!Number.isInteger(clusterBits) || clusterBits < smallestClusterBits || clusterBits > largestClusterBits) {
    throw new DiskError('USAGE', `qcow2 has no clusters of ${clusterSize} bytes: name a power of two, 512 to 2097152`);
  }
  if (size < 0n) throw new RangeError(`a disk of ${size} bytes`);
  if (backing !== undefined) checkBacking(backing);
  const virtualSize = roundUp(size, sector);
  const l1Entries = tablesFor(virtualSize, clusterBits);
  if (l1Entries > BigInt(mostL1Entries)) throw tooLarge(size, clusterSize);
  return {
    diskSize: size,
    virtualSize,
    clusterSize,
    clusterBits,
    compression,
    backing,
    // QEMU takes an image without an L1 table; other programs need not.
    l1Entries: Math.max(1, Number(l1Entries)),
    l2Entries: clusterSize >> entryBits,
  };
}

function tablesFor(size: bigint, clusterBits: number): bigint {
  const shift = BigInt(coverageBits(2 ** clusterBits, false));
  return (size + (1n << shift) - 1n) >> shift;
}

function tooLarge(size: bigint, clusterSize: number): DiskError {
  for (let bits = smallestClusterBits; bits <= largestClusterBits; bits++) {
    if (tablesFor(size, bits) > BigInt(mostL1Entries)) continue;
    const words = `a qcow2 image of ${size} bytes takes clusters of ${2 ** bits} bytes or more, not of ${clusterSize}`;
    return new DiskError('UNSUPPORTED', `${words}: its L1 table would be larger than QEMU's largest`);
  }
  const most = BigInt(mostL1Entries) << BigInt(coverageBits(2 ** largestClusterBits, false));
  return new DiskError('UNSUPPORTED', `a qcow2 image has at most ${most} bytes, not ${size}: choose another format`);
}

function checkBacking({ file, format }: Qcow2Backing): void {
  const check = (what: string, text: string, most: number) => {
    const length = Buffer.byteLength(text);
    if (length > 0 && length <= most && !text.includes('\0')) return;
    throw new DiskError('USAGE', `${what} has ${length} bytes: qcow2 keeps 1 to ${most}, and no NUL`);
  };
  check('the name of the backing file', file, longestBackingFile);
  check("the name of the backing file's format", format, longestBackingFormat);
}
