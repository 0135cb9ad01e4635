import { min } from '../../../binary/convert.js';
import { zeroRuns } from '../../../binary/zeros.js';
import { DiskError } from '../../../error/disk-error.js';
import {
  compressedSectorSize,
  compressedSectorsShift,
  QCOW_OFLAG_COMPRESSED,
  QCOW_OFLAG_COPIED,
  QCOW_OFLAG_ZERO,
} from '../on-disk.js';
import { CompressQueue, type Item } from './compress-queue.js';
import { encodeHeader } from './header.js';
import { HostFile, type Placed, type Qcow2Target } from './host-file.js';
import { Mapping } from './mapping.js';
import { PackedClusters } from './packed-clusters.js';
import { PartialCluster } from './partial-cluster.js';
import { planQcow2, type Qcow2Plan, type Qcow2WriterOptions } from './plan.js';

export interface Qcow2Written {
  /** Bytes of the file. */
  readonly fileSize: bigint;
  /** Bytes of the disk in it: whole sectors. */
  readonly virtualSize: bigint;
}

const nowhere: Placed = { first: 0, count: 0 };

/**
 * Writes a new qcow2 image of version 3, front to back: clusters and L2 tables as they come, then the L1 table and the
 * refcounts, and the header last: until `finish` has resolved, what is there is no image. Whatever is not written, and
 * whatever is zeros, takes no room; with a backing file, zeros are stored as such, and what is not written shows it.
 *
 * The target is a file without contents, or one whose first bytes say nothing: of it every cluster is written that is
 * referred to. Calls may be made while others are under way, and are carried out in their order; after one has failed,
 * all others do. A writer that is given up while something may be under way is to be abandoned, before what it writes to
 * is closed.
 *
 * In memory, whatever the size of the disk: the L1 table (32 MiB at most), an L2 table, a cluster, the last refcount
 * blocks, and where each of the others lies (8 MiB at most); of tables, 16 that are being written. To compress, 8 MiB of
 * clusters under way, 64 MiB with the largest clusters and 8 cores, and buffers of 1 or 2 MiB.
 */
export class Qcow2Writer {
  readonly #plan: Qcow2Plan;
  readonly #signal: AbortSignal | undefined;
  readonly #host: HostFile;
  readonly #mapping: Mapping;
  readonly #partial: PartialCluster;
  readonly #packed: PackedClusters | undefined;
  readonly #queue: CompressQueue;
  #state: 'ready' | 'failed' | 'finished' = 'ready';
  /** Settles when all calls so far have been carried out, but for what they have lent. */
  #turn: Promise<unknown> = Promise.resolve();
  /** The writes of bytes that the call under way has lent. */
  #lent: Promise<void>[] = [];
  /** Bytes of the disk: where the next call may start. */
  #at = 0n;

  /** @throws {DiskError} USAGE, UNSUPPORTED: nothing has been written then */
  constructor(target: Qcow2Target, options: Qcow2WriterOptions) {
    const plan = planQcow2(options);
    // Whether everything fits is better known before hours have passed.
    encodeHeader(plan, { l1: nowhere, refcountTable: nowhere });
    this.#plan = plan;
    this.#signal = options.signal;
    this.#host = new HostFile(target, plan);
    this.#mapping = new Mapping(this.#host, plan);
    this.#partial = new PartialCluster(plan.clusterSize);
    this.#packed = plan.compression === 'none' ? undefined : new PackedClusters(this.#host);
    this.#queue = new CompressQueue(plan);
  }

  /** Bytes of the disk, as the image tells them: whole sectors. */
  get virtualSize(): bigint {
    return this.#plan.virtualSize;
  }

  /** Bytes of a cluster: parts that start and end at multiples of it are not copied together first. */
  get clusterSize(): number {
    return this.#plan.clusterSize;
  }

  /**
   * Takes bytes of the disk, behind all that have been taken. `from` is the caller's again when this resolves.
   *
   * @throws {DiskError} UNSUPPORTED when the file grows past what its clusters allow; USAGE for a part of a cluster alone,
   * with a backing file; CANCELLED
   */
  write(from: Uint8Array, offset: bigint): Promise<void> {
    return this.#inTurn('ready', () => this.#spread(offset, BigInt(from.length), from));
  }

  /** Takes zeros, as `write` does. Without a backing file there is no need to. */
  zero(offset: bigint, length: bigint): Promise<void> {
    return this.#inTurn('ready', () => this.#spread(offset, length, undefined));
  }

  /** Writes all that is left, the header last. */
  finish(): Promise<Qcow2Written> {
    return this.#inTurn('finished', async () => {
      await this.#endPartial();
      for (let item = this.#queue.take(); item !== undefined; item = this.#queue.take()) await this.#store(item);
      await this.#packed?.close();
      const l1 = await this.#mapping.finish();
      const refcountTable = await this.#host.finish();
      const fileSize = BigInt(this.#host.end) * BigInt(this.clusterSize);
      const header = new Uint8Array(this.clusterSize);
      header.set(encodeHeader(this.#plan, { l1, refcountTable }));
      // Nothing that it leads to may be missing.
      await this.#host.rest();
      this.#heedSignal();
      await this.#host.write(header, 0);
      await this.#host.rest();
      return { fileSize, virtualSize: this.virtualSize };
    });
  }

  /** Takes nothing more, and waits until nothing is under way: what it writes to may be closed then. Never rejects. */
  async abandon(): Promise<void> {
    this.#state = 'failed';
    await this.#turn;
    await this.#host.rest().catch(() => {});
  }

  async #inTurn<Result>(then: 'ready' | 'finished', work: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(() => this.#alone(then, work));
    this.#turn = turn.catch(() => {});
    const { result, lent } = await turn;
    await Promise.all(lent);
    return result;
  }

  async #alone<Result>(then: 'ready' | 'finished', work: () => Promise<Result>) {
    if (this.#state !== 'ready') throw new Error(`the writer of the qcow2 image is ${this.#state}`);
    this.#lent = [];
    try {
      const result = await work();
      if (this.#state === 'ready') this.#state = then;
      return { result, lent: this.#lent };
    } catch (error) {
      this.#state = 'failed';
      throw error;
    }
  }

  /** Cuts bytes, or zeros, to whole clusters and parts of one. */
  async #spread(offset: bigint, length: bigint, from: Uint8Array | undefined): Promise<void> {
    const { diskSize: size } = this.#plan;
    const end = offset + length;
    if (offset < this.#at || end > size) {
      throw new RangeError(`bytes ${offset} to ${end}, where ${this.#at} to ${size} of the qcow2 image are left`);
    }
    this.#heedSignal();
    this.#at = end;
    const clusterSize = BigInt(this.clusterSize);
    for (let at = offset; at < end; ) {
      const cluster = Number(at / clusterSize);
      const within = at % clusterSize;
      if (this.#partial.cluster !== cluster) await this.#endPartial();
      // Zeros need not come to the end of the last cluster.
      const rest = from === undefined && end === size ? end - at + clusterSize - 1n : end - at;
      const whole = within === 0n ? rest / clusterSize : 0n;
      const next = min(end, whole > 0n ? at + whole * clusterSize : at + clusterSize - within);
      const part = from?.subarray(Number(at - offset), Number(next - offset));
      if (whole === 0n) this.#partial.add(cluster, Number(within), Number(within + next - at), part);
      else if (part === undefined) await this.#takeZeros(cluster, Number(whole));
      else await this.#takeClusters(cluster, part);
      at = next;
    }
  }

  async #endPartial(): Promise<void> {
    const { cluster } = this.#partial;
    if (cluster === undefined) return;
    const { backing, diskSize: size } = this.#plan;
    const clusterSize = BigInt(this.clusterSize);
    const needed = backing === undefined ? 0n : min(clusterSize, size - BigInt(cluster) * clusterSize);
    await this.#takeClusters(cluster, this.#partial.take(Number(needed)));
  }

  async #takeClusters(first: number, bytes: Uint8Array): Promise<void> {
    const runs: [start: number, end: number, zero: boolean][] = [];
    zeroRuns(bytes, this.clusterSize, (start, end, zero) => runs.push([start, end, zero]));
    for (const [start, end, zero] of runs) {
      const cluster = first + start / this.clusterSize;
      if (zero) await this.#takeZeros(cluster, (end - start) / this.clusterSize);
      else if (this.#packed === undefined) await this.#storeLent(cluster, bytes.subarray(start, end));
      else await this.#compress(cluster, bytes.subarray(start, end));
    }
  }

  async #takeZeros(first: number, count: number): Promise<void> {
    if (this.#plan.backing === undefined) return;
    if (this.#packed === undefined) return await this.#storeZeros(first, count);
    await this.#makeRoom();
    this.#queue.addZeros(first, count);
  }

  async #compress(first: number, bytes: Uint8Array): Promise<void> {
    for (let start = 0; start < bytes.length; start += this.clusterSize) {
      await this.#makeRoom();
      this.#queue.add(first + start / this.clusterSize, bytes.subarray(start, start + this.clusterSize));
    }
  }

  async #makeRoom(): Promise<void> {
    if (!this.#queue.full) return;
    const item = this.#queue.take();
    if (item !== undefined) await this.#store(item);
  }

  async #store(item: Item): Promise<void> {
    if (item.slot === undefined) return await this.#storeZeros(item.first, item.count);
    const { first, slot } = item;
    const length = await item.length;
    if (length === undefined || this.#packed === undefined) {
      const [written] = await this.#storePlain(first, slot.cluster);
      written?.then(
        () => this.#queue.release(slot),
        () => {},
      );
      return;
    }
    const compressed = slot.compressed.subarray(0, length);
    await this.#mapping.reach(first);
    const place = await this.#packed.add(compressed);
    this.#queue.release(slot);
    const lastSector = Math.floor((place + compressed.length - 1) / compressedSectorSize);
    const more = BigInt(lastSector - Math.floor(place / compressedSectorSize));
    const sectors = more << BigInt(compressedSectorsShift(this.#plan.clusterBits));
    this.#mapping.set(first, QCOW_OFLAG_COMPRESSED | sectors | BigInt(place));
    await this.#settle();
  }

  async #storeLent(first: number, bytes: Uint8Array): Promise<void> {
    this.#lent.push(...(await this.#storePlain(first, bytes)));
  }

  /** Returns the writes, in which the bytes must stay as they are. */
  async #storePlain(first: number, bytes: Uint8Array): Promise<Promise<void>[]> {
    const { clusterSize } = this;
    const writes: Promise<void>[] = [];
    const end = first + bytes.length / clusterSize;
    for (let cluster = first; cluster < end; ) {
      const room = await this.#mapping.reach(cluster);
      const next = Math.min(end, cluster + room);
      const part = bytes.subarray((cluster - first) * clusterSize, (next - first) * clusterSize);
      const placed = await this.#host.append(part);
      writes.push(placed.written);
      for (let i = 0; i < placed.count; i++) {
        const offset = BigInt(placed.first + i) * BigInt(clusterSize);
        this.#mapping.set(cluster + i, QCOW_OFLAG_COPIED | offset);
      }
      await this.#settle();
      cluster = next;
    }
    return writes;
  }

  async #storeZeros(first: number, count: number): Promise<void> {
    for (let cluster = first; cluster < first + count; ) {
      this.#heedSignal();
      const room = await this.#mapping.reach(cluster);
      const next = Math.min(first + count, cluster + room);
      for (; cluster < next; cluster++) this.#mapping.set(cluster, QCOW_OFLAG_ZERO);
      await this.#settle();
    }
  }

  /** Called where all that has been given out is referred to, but for what compressed clusters may still take. */
  #settle(): Promise<void> {
    return this.#host.settle(this.#packed?.floor ?? this.#host.end);
  }

  #heedSignal(): void {
    if (this.#signal?.aborted) throw DiskError.cancelled(this.#signal);
  }
}
