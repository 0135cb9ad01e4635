import { DiskError } from '../../../error/disk-error.js';
import { InFlight } from '../in-flight.js';
import { compressedSectorsShift, largestRefcountTable } from '../on-disk.js';
import type { Qcow2Plan } from './plan.js';

/** What an image is written to, several writes at a time, none over another. It keeps nothing of the bytes once it has resolved. */
export interface Qcow2Target {
  write(from: Uint8Array, offset: bigint): Promise<void>;
}

/** Where a structure lies. */
export interface Placed {
  /** Cluster of the file. */
  readonly first: number;
  /** Clusters. */
  readonly count: number;
}

/** refcount_order of what is written, and what fits. */
export const refcountOrder = 4;
const refcountBytes = 2 ** refcountOrder / 8;
const largestRefcount = 2 ** (2 ** refcountOrder) - 1;
const tableEntryBytes = 8;
/** Writes that are under way at the same time. */
const mostWrites = 16;

/**
 * The clusters of the file: given out in ascending order, and counted. A refcount block whose clusters have all been
 * counted is written where the file ends at that time, so that only the last few are in memory.
 */
export class HostFile {
  readonly clusterSize: number;
  readonly #perBlock: number;
  readonly #most: number;
  /** The header has the first cluster. */
  #end = 0;
  /** Clusters of the refcount blocks that have been written. */
  readonly #written: number[] = [];
  /** The blocks behind those. */
  readonly #open: DataView[] = [];
  readonly #writes = new InFlight(mostWrites);

  constructor(
    private readonly target: Qcow2Target,
    { clusterSize, clusterBits, compression }: Pick<Qcow2Plan, 'clusterSize' | 'clusterBits' | 'compression'>,
  ) {
    this.clusterSize = clusterSize;
    this.#perBlock = clusterSize / refcountBytes;
    const offsets = compression === 'none' ? Number.POSITIVE_INFINITY : 2 ** compressedSectorsShift(clusterBits);
    this.#most = Math.min(
      (largestRefcountTable / tableEntryBytes) * this.#perBlock,
      Math.floor(Math.min(offsets, Number.MAX_SAFE_INTEGER) / clusterSize),
    );
    this.refer(this.take(1), 1);
  }

  /** Clusters that have been given out. */
  get end(): number {
    return this.#end;
  }

  /**
   * Gives out clusters at the end of the file, which nothing refers to yet.
   *
   * @returns the first of them
   * @throws {DiskError} UNSUPPORTED when the file passes what refcounts or offsets can tell of
   */
  take(count: number): number {
    const first = this.#end;
    if (first + count > this.#most) {
      const most = this.#most * this.clusterSize;
      const words = `a qcow2 file with clusters of ${this.clusterSize} bytes has at most ${most}: choose larger clusters`;
      throw new DiskError('UNSUPPORTED', words);
    }
    this.#end += count;
    return first;
  }

  /** Takes back the clusters from `end` on, which nothing refers to. */
  giveBack(end: number): void {
    this.#end = end;
  }

  /** Counts a reference to each of these clusters. */
  refer(first: number, count: number): void {
    for (let cluster = first; cluster < first + count; cluster++) {
      const block = this.#block(Math.floor(cluster / this.#perBlock));
      const at = (cluster % this.#perBlock) * refcountBytes;
      const refcount = block.getUint16(at) + 1;
      if (refcount > largestRefcount) {
        throw new DiskError('UNSUPPORTED', `a qcow2 cluster is referred to ${largestRefcount} times at most`);
      }
      block.setUint16(at, refcount);
    }
  }

  /** Writes the refcount blocks that tell of nothing but clusters before `below`, which will be referred to no more. */
  async settle(below: number): Promise<void> {
    while ((this.#written.length + 1) * this.#perBlock <= below) {
      const place = this.take(1);
      this.refer(place, 1);
      await this.#writeBlock(place);
    }
  }

  /**
   * Starts to write `from` to the clusters from `first` on.
   *
   * @returns `written`: settles when the bytes need not stay as they are any more
   * @throws what a write before this one was rejected with
   */
  async write(from: Uint8Array, first: number): Promise<{ readonly written: Promise<void> }> {
    await this.#writes.room();
    if (this.#writes.failed) await this.rest();
    const written = this.target.write(from, BigInt(first) * BigInt(this.clusterSize));
    this.#writes.add(written);
    return { written };
  }

  /** Waits until no write is under way any more. */
  rest(): Promise<void> {
    return this.#writes.end();
  }

  /** Places `from`, whole clusters, at the end of the file: one reference to each. Written as {@link write} does. */
  async append(from: Uint8Array): Promise<Placed & { readonly written: Promise<void> }> {
    const count = from.length / this.clusterSize;
    const first = this.take(count);
    this.refer(first, count);
    const { written } = await this.write(from, first);
    return { first, count, written };
  }

  /** Writes the refcount blocks that are left, and the refcount table. Both are counted as well. */
  async finish(): Promise<Placed> {
    const { clusterSize } = this;
    let blocks = 0;
    let tableClusters = 0;
    let added = 0;
    // With each block that they need, they may need another: this grows to the fewest that do.
    for (let needed = 1; needed > blocks; needed = Math.ceil((this.#end + added) / this.#perBlock)) {
      blocks = needed;
      tableClusters = Math.ceil((blocks * tableEntryBytes) / clusterSize);
      added = Math.max(0, blocks - this.#written.length) + tableClusters;
    }
    const first = this.take(added);
    this.refer(first, added);
    while (this.#open.length > 0) await this.#writeBlock(first + added - tableClusters - this.#open.length);
    const table = new Uint8Array(tableClusters * clusterSize);
    const view = new DataView(table.buffer);
    for (const [i, cluster] of this.#written.entries()) {
      view.setBigUint64(i * tableEntryBytes, BigInt(cluster) * BigInt(clusterSize));
    }
    const place = { first: first + added - tableClusters, count: tableClusters };
    await this.write(table, place.first);
    return place;
  }

  #block(index: number): DataView {
    const open = this.#open;
    while (open.length <= index - this.#written.length) open.push(new DataView(new ArrayBuffer(this.clusterSize)));
    const block = open[index - this.#written.length];
    if (block === undefined) throw new RangeError(`refcount block ${index} has been written`);
    return block;
  }

  async #writeBlock(place: number): Promise<void> {
    const block = this.#open.shift();
    if (block === undefined) return;
    this.#written.push(place);
    await this.write(new Uint8Array(block.buffer), place);
  }
}
