import { DiskError } from '../../error/disk-error.js';
import { atLeast } from './columns.js';
import type { LineKind } from './map-lines.js';
import { NameTable, noParent } from './name-table.js';

/** Takes the lines of a block map, in ascending order of their starts. */
export interface LineSink {
  /** The number that stands for the device named in `bytes` from `start` to `end`. */
  device(bytes: Uint8Array, start: number, end: number): number;
  /**
   * @param start and `end`: bytes of the disk, below 2^53
   * @param path holds the path from `pathStart` to `pathEnd`; undefined: none
   */
  add(
    kind: LineKind,
    start: number,
    end: number,
    device: number,
    path: Uint8Array | undefined,
    pathStart: number,
    pathEnd: number,
  ): void;
}

/** What bytes belong to. */
export interface Owner {
  readonly kind: LineKind;
  readonly device: string;
  readonly path?: Buffer | undefined;
}

/** Kinds that may have a path, the most particular first: an owner with one is numbered by its path and kind. */
const named: readonly LineKind[] = ['f', 'd', 'm'];
/** The most particular first. */
const ranks: readonly LineKind[] = ['f', 'd', 'm', 's', 'u', 'p', 'v'];
/** Of these the smaller lies in the larger, which comes first in a map; of all others the first line counts. */
const nested = ranks.indexOf('p');
/** Numbers of owners without a path. */
const plain = 3;
const slash = 0x2f;

/**
 * Says what a byte of a disk belongs to: a table of stretches in ascending order, each with the number of the most
 * particular owner that its bytes have. Of a file with several names, that whose line comes first.
 *
 * A stretch takes 12 bytes.
 */
export class OwnerIndex {
  constructor(
    private readonly names: NameTable,
    private readonly plainOwners: readonly { readonly kind: LineKind; readonly device: number }[],
    private readonly starts: Float64Array,
    private readonly owners: Uint32Array,
    /** Stretches; the last one has no owner, and begins where the map ends. */
    private readonly count: number,
  ) {}

  /** The stretch that holds a byte; -1 before the first. */
  find(at: number): number {
    let low = -1;
    let high = this.count;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.starts[middle] ?? 0) <= at) low = middle;
      else high = middle;
    }
    return low;
  }

  startOf(stretch: number): number {
    return this.starts[stretch] ?? 0;
  }

  /** Where the stretch ends: infinity for the last one. */
  endOf(stretch: number): number {
    return stretch + 1 < this.count ? this.startOf(stretch + 1) : Number.POSITIVE_INFINITY;
  }

  /** The number of who owns a stretch; undefined where nobody does. */
  ownerOf(stretch: number): number | undefined {
    const owner = this.owners[stretch];
    return stretch < 0 || owner === undefined || owner === nobody ? undefined : owner;
  }

  /** The number of the device of an owner. */
  deviceOf(owner: number): number {
    if (owner % 4 === plain) return this.plainOwners[Math.floor(owner / 4)]?.device ?? 0;
    return this.names.parentOf(this.names.parentOf(Math.floor(owner / 4)));
  }

  nameOfDevice(device: number): string {
    return this.names.bytesOf(device).toString();
  }

  describe(owner: number): Owner {
    const number = Math.floor(owner / 4);
    const device = this.nameOfDevice(this.deviceOf(owner));
    if (owner % 4 === plain) return { kind: this.plainOwners[number]?.kind ?? 'v', device };
    const folder = this.names.bytesOf(this.names.parentOf(number));
    return { kind: named[owner % 4] ?? 'f', device, path: Buffer.concat([folder, this.names.bytesOf(number)]) };
  }
}

/** Stands for no owner in the table. */
const nobody = 0xffff_ffff;

/** A line that covers the place that has been come to, or did. */
interface Open {
  readonly rank: number;
  /** Less comes first among those of one rank. */
  readonly order: number;
  readonly end: number;
  readonly owner: number;
}

/** Makes an index of lines: one sweep, that keeps the lines that are open in a heap, the most particular on top. */
export class OwnerIndexBuilder implements LineSink {
  readonly #names = new NameTable();
  readonly #plainOwners: { kind: LineKind; device: number }[] = [];
  readonly #plainNumbers = new Map<string, number>();
  #starts = new Float64Array(1024);
  #owners = new Uint32Array(1024);
  #count = 0;
  readonly #open: Open[] = [];
  #lines = 0;
  #last = 0;
  /** Of the last path; a device at first, which is no folder of any. */
  #folder = 0;

  device(bytes: Uint8Array, start: number, end: number): number {
    return this.#names.intern(noParent, bytes, start, end);
  }

  add(
    kind: LineKind,
    start: number,
    end: number,
    device: number,
    path: Uint8Array | undefined,
    pathStart: number,
    pathEnd: number,
  ): void {
    if (start < this.#last) throw new DiskError('CORRUPT', `a block map is not sorted at byte 0x${start.toString(16)}`);
    this.#last = start;
    if (end <= start) return;
    this.#closeUpTo(start);
    const rank = ranks.indexOf(kind);
    const order = rank >= nested ? -this.#lines++ : this.#lines++;
    const owner = this.#ownerOf(kind, device, path, pathStart, pathEnd);
    const opened = { rank, order, end, owner };
    push(this.#open, opened);
    if (this.#open[0] === opened) this.#begin(start, owner);
  }

  finish(): OwnerIndex {
    this.#closeUpTo(Number.POSITIVE_INFINITY);
    this.#names.finish();
    return new OwnerIndex(this.#names, this.#plainOwners, this.#starts, this.#owners, this.#count);
  }

  /** Ends the lines that end up to a byte, and goes on with what they lay in. */
  #closeUpTo(at: number): void {
    for (let top = this.#open[0]; top !== undefined && top.end <= at; ) {
      const { end } = top;
      // Others may have ended before it, below the top.
      do pop(this.#open);
      while (this.#open[0] !== undefined && this.#open[0].end <= end);
      top = this.#open[0];
      this.#begin(end, top?.owner ?? nobody);
    }
  }

  #begin(start: number, owner: number): void {
    const before = this.#count - 1;
    if (before >= 0 && this.#starts[before] === start) {
      this.#owners[before] = owner;
      return;
    }
    if (before >= 0 && this.#owners[before] === owner) return;
    this.#starts = atLeast(this.#starts, this.#count + 1, Float64Array);
    this.#owners = atLeast(this.#owners, this.#count + 1, Uint32Array);
    this.#starts[this.#count] = start;
    this.#owners[this.#count++] = owner;
  }

  #ownerOf(kind: LineKind, device: number, path: Uint8Array | undefined, pathStart: number, pathEnd: number): number {
    const place = named.indexOf(kind);
    if (path === undefined || place === -1) return this.#plainOwner(kind, device);
    const folderEnd = path.lastIndexOf(slash, pathEnd - 2) + 1;
    const split = Math.max(pathStart, folderEnd);
    // Files that lie side by side are often in one folder.
    if (!this.#names.is(this.#folder, device, path, pathStart, split)) {
      this.#folder = this.#names.intern(device, path, pathStart, split);
    }
    return this.#names.intern(this.#folder, path, split, pathEnd) * 4 + place;
  }

  #plainOwner(kind: LineKind, device: number): number {
    const key = `${kind}${device}`;
    const known = this.#plainNumbers.get(key);
    if (known !== undefined) return known;
    const owner = (this.#plainOwners.push({ kind, device }) - 1) * 4 + plain;
    this.#plainNumbers.set(key, owner);
    return owner;
  }
}

function isBefore(a: Open, b: Open): boolean {
  return a.rank < b.rank || (a.rank === b.rank && a.order < b.order);
}

function push(heap: Open[], added: Open): void {
  let at = heap.length;
  heap.push(added);
  while (at > 0) {
    const parent = (at - 1) >>> 1;
    const above = heap[parent];
    if (above === undefined || !isBefore(added, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = added;
}

function pop(heap: Open[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = at * 2 + 1;
    const [left, right] = [heap[child], heap[child + 1]];
    if (left === undefined) break;
    const least = right !== undefined && isBefore(right, left) ? right : left;
    if (least === right) child++;
    if (!isBefore(least, last)) break;
    heap[at] = least;
    at = child;
  }
  heap[at] = last;
}
