import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import {
  compressedDescriptor,
  compressedSectorSize,
  compressedSectorsShift,
  entryBits,
  extendedEntryBits,
  L2E_OFFSET_MASK,
  QCOW_OFLAG_COMPRESSED,
  QCOW_OFLAG_COPIED,
  QCOW_OFLAG_ZERO,
  subclusterBits,
} from './on-disk.js';

/** Where bytes of the disk come from. `unallocated`: from the backing file, if there is one. */
export type Kind = 'unallocated' | 'zero' | 'data' | 'compressed';

/**
 * What bytes in a row have in common: their kind; and, where they have a place in the file, that they lie there in a row;
 * or that one request reads them, so of data that they lie in a row, and that compressed ones are of one cluster.
 */
export type Alike = 'kind' | 'place' | 'request';

/** Bytes in a row that come from one place. Filled in place, since there is one for each request. */
export interface Run {
  kind: Kind;
  /** Bytes. */
  length: number;
  /** Bytes from the start of the data file: where it is `placed` its first byte, of `compressed` where the cluster is. */
  host: number;
  /** Whether it has a place in the file, as data have. Zeros may have one too, and so may parts that are unallocated. */
  placed: boolean;
  /** Bytes that a compressed cluster takes at most. */
  stored: number;
}

export function newRun(): Run {
  return { kind: 'unallocated', length: 0, host: 0, placed: false, stored: 0 };
}

/** What the entries of an image mean. */
export interface EntryFormat {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly extendedL2: boolean;
  /** Data clusters lie in a file of their own, each at its place on the disk. */
  readonly external: boolean;
  /** Bytes of the file that holds data clusters, 2^53 - 1 at most. */
  readonly dataEnd: number;
  /** The file's full name. */
  readonly device: string;
}

/** An L2 table in memory. */
export interface L2Table {
  readonly view: DataView;
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

const high = (mask: bigint) => Number(mask >> 32n);
const low = (mask: bigint) => Number(BigInt.asUintN(32, mask));
const copiedHigh = high(QCOW_OFLAG_COPIED);
const compressedHigh = high(QCOW_OFLAG_COMPRESSED);
const zeroLow = low(QCOW_OFLAG_ZERO);
const offsetHigh = high(L2E_OFFSET_MASK);
const offsetLow = low(L2E_OFFSET_MASK);
const descriptorHigh = high(compressedDescriptor);
const two32 = 2 ** 32;
const subclusters = 1 << subclusterBits;

/**
 * Tells what the entries of L2 tables say. Every entry is checked when it is met: its offset is aligned and lies inside
 * the file. Offsets are read as two halves of 32 bits: multiples of 512 below 2^56 are exact as numbers.
 */
export class L2Entries {
  readonly #clusterSize: number;
  readonly #subclusterSize: number;
  readonly #entrySize: number;
  readonly #sectorsShift: number;
  /** Of the entry that was looked at last. */
  #kind: Kind = 'unallocated';
  #host = 0;
  #placed = false;
  #stored = 0;
  /** Bytes from the place that was looked at to where its cluster or run of subclusters ends. */
  #length = 0;

  constructor(private readonly format: EntryFormat) {
    this.#clusterSize = 2 ** format.clusterBits;
    this.#subclusterSize = this.#clusterSize / subclusters;
    this.#entrySize = 2 ** (format.extendedL2 ? extendedEntryBits : entryBits);
    // The shift within the upper half.
    this.#sectorsShift = compressedSectorsShift(format.clusterBits) - 32;
  }

  /**
   * Finds how long a range goes on as it begins.
   *
   * @param tableStart bytes of the disk: the first that the table tells of
   * @param from bytes from there
   * @param to bytes from there, above `from`: where to stop
   * @throws {DiskError} CORRUPT with the entry that is wrong
   */
  run(table: L2Table, tableStart: number, from: number, to: number, alike: Alike, run: Run): void {
    this.#look(table, tableStart, from);
    const kind = this.#kind;
    const host = this.#host;
    let end = from + this.#length;
    run.kind = kind;
    run.host = host;
    run.placed = this.#placed;
    run.stored = this.#stored;
    const single = kind === 'compressed' && alike === 'request';
    const byPlace = alike === 'place' || (alike === 'request' && kind === 'data');
    while (end < to && !single) {
      this.#look(table, tableStart, end);
      if (this.#kind !== kind) break;
      if (byPlace && (this.#placed !== run.placed || (run.placed && this.#host !== host + (end - from)))) break;
      end += this.#length;
    }
    run.length = Math.min(end, to) - from;
  }

  #look({ view, offset }: L2Table, tableStart: number, at: number): void {
    const clusterSize = this.#clusterSize;
    const index = Math.floor(at / clusterSize);
    const inCluster = at - index * clusterSize;
    const entry = index * this.#entrySize;
    const upper = view.getUint32(entry);
    const lower = view.getUint32(entry + 4);
    if ((upper & compressedHigh) !== 0) {
      this.#length = clusterSize - inCluster;
      this.#lookCompressed(upper, lower, offset + entry);
      return;
    }
    const host = (upper & offsetHigh) * two32 + ((lower & offsetLow) >>> 0);
    if ((lower & (clusterSize - 1) & offsetLow) !== 0) {
      throw this.#wrong(offset + entry, 'L2E_OFFSET_MASK', hex(host), `a multiple of ${clusterSize}`);
    }
    const has = host !== 0 || (this.format.external && (upper & copiedHigh) !== 0);
    let placed = has;
    if (this.format.extendedL2) {
      this.#lookSubclusters(view, entry, offset, inCluster, has);
    } else {
      this.#length = clusterSize - inCluster;
      if ((lower & zeroLow) !== 0) {
        if (this.format.version < 3) {
          throw this.#wrong(offset + entry, 'QCOW_OFLAG_ZERO', 1, '0, as ever in version 2');
        }
        this.#kind = 'zero';
        // Of a cluster of zeros, 0 is no place, not even in a data file (QEMU block/qcow2.h, qcow2_get_cluster_type).
        placed = host !== 0;
      } else this.#kind = has ? 'data' : 'unallocated';
    }
    this.#placed = placed;
    this.#host = has ? host + inCluster : 0;
    if (this.#kind === 'data') {
      if (this.format.external && host !== tableStart + index * clusterSize) {
        const expected = `${hex(tableStart + index * clusterSize)}, its place on the disk: it lies in the data file`;
        throw this.#wrong(offset + entry, 'L2E_OFFSET_MASK', hex(host), expected);
      }
      if (host >= this.format.dataEnd) {
        throw this.#wrong(offset + entry, 'L2E_OFFSET_MASK', hex(host), this.#inside);
      }
    }
  }

  #lookSubclusters(view: DataView, entry: number, offset: number, inCluster: number, has: boolean): void {
    const zeroes = view.getUint32(entry + 8);
    const allocated = view.getUint32(entry + 12);
    if ((zeroes & allocated) !== 0) {
      const actual = `${hex(zeroes)}, with ${hex(allocated)} below`;
      throw this.#wrong(offset + entry + 8, 'bits 32 to 63', actual, 'no subcluster both zero and allocated');
    }
    if (allocated !== 0 && !has) {
      throw this.#wrong(offset + entry + 8, 'bits 0 to 31', hex(allocated), '0, since no cluster is allocated');
    }
    const first = Math.floor(inCluster / this.#subclusterSize);
    const zero = (zeroes >>> first) & 1;
    const data = (allocated >>> first) & 1;
    this.#kind = zero === 1 ? 'zero' : data === 1 ? 'data' : 'unallocated';
    const alike = zero === 1 ? ones(zeroes >>> first) : data === 1 ? ones(allocated >>> first) : -1;
    const count = alike === -1 ? ones(~((zeroes | allocated) >>> first)) : alike;
    this.#length = Math.min(first + count, subclusters) * this.#subclusterSize - inCluster;
  }

  #lookCompressed(upper: number, lower: number, at: number): void {
    if (this.format.external) {
      throw this.#wrong(at, 'QCOW_OFLAG_COMPRESSED', 1, '0, since there is a data file');
    }
    const descriptor = upper & descriptorHigh;
    const sectors = (descriptor >>> this.#sectorsShift) + 1;
    const host = (descriptor & ((1 << this.#sectorsShift) - 1)) * two32 + lower;
    if (host >= this.format.dataEnd) {
      throw this.#wrong(at, 'host cluster offset', hex(host), this.#inside);
    }
    this.#kind = 'compressed';
    this.#placed = false;
    this.#host = host;
    this.#stored = sectors * compressedSectorSize - (host % compressedSectorSize);
  }

  get #inside(): string {
    const { dataEnd, external } = this.format;
    return `below ${hex(dataEnd)}, where the ${external ? 'data file' : 'file'} ends`;
  }

  #wrong(at: number, field: string, actual: string | number, expected: string | number): DiskError {
    const { device } = this.format;
    return DiskError.corrupt({
      structure: 'qcow2 L2 table entry',
      offset: BigInt(at),
      device,
      field,
      actual,
      expected,
    });
  }
}

/** How many of the lowest bits are set in a row. */
function ones(bits: number): number {
  const inverse = ~bits;
  return inverse === 0 ? 32 : 31 - Math.clz32(inverse & -inverse);
}
