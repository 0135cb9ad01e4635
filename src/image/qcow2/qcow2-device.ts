import { max, min } from '../../binary/convert.js';
import { bytesOf } from '../../binary/layout.js';
import { type BlockDevice, type DeviceFacts, done, type RequestOptions } from '../../device/block-device.js';
import type { Bytes } from '../../device/extent.js';
import { readView } from '../../device/read-view.js';
import { type Allocation, type AllocationOptions, ImageDevice } from '../allocation.js';
import { Allocations } from './allocations.js';
import { CompressedClusters } from './compressed.js';
import type { Qcow2Header } from './header.js';
import { InFlight } from './in-flight.js';
import { coverageBits } from './l1-place.js';
import { L2Entries, newRun, type Run } from './l2-entries.js';
import type { Qcow2Snapshot } from './snapshots.js';
import type { Tables } from './tables.js';

/** Parts of one request that are under way at the same time. */
const mostParts = 8;
/** Bytes. */
const largestRequest = 32 << 20;

/** What an image is read from. */
export interface Qcow2Parts {
  readonly name: string;
  readonly file: BlockDevice;
  readonly header: Qcow2Header;
  readonly tables: Tables;
  readonly size: Bytes;
  readonly backing: BlockDevice | undefined;
  readonly dataFile: BlockDevice | undefined;
  readonly snapshot: Qcow2Snapshot | undefined;
}

/** The virtual disk of a qcow2 image, for reading only. It owns the image's file, its data file and its backing. */
export class Qcow2Device extends ImageDevice {
  readonly name: string;
  readonly facts: DeviceFacts;
  readonly header: Qcow2Header;
  /** The internal snapshot that is shown, if it is one. */
  readonly snapshot: Qcow2Snapshot | undefined;
  readonly #file: BlockDevice;
  readonly #data: BlockDevice;
  readonly #backing: BlockDevice | undefined;
  readonly #tables: Tables;
  readonly #entries: L2Entries;
  readonly #compressed: CompressedClusters;
  readonly #allocations: Allocations;
  readonly #clusterSize: number;
  /** log2 and mask of the bytes that an L2 table tells of. */
  readonly #coverageBits: bigint;
  readonly #coverageMask: bigint;
  readonly #coverage: number;
  /** For what is done at one go. */
  readonly #run = newRun();

  constructor({ name, file, header, tables, size, backing, dataFile, snapshot }: Qcow2Parts) {
    super();
    const { clusterSize, extendedL2, version } = header;
    this.name = name;
    this.header = header;
    this.snapshot = snapshot;
    this.#file = file;
    this.#data = dataFile ?? file;
    this.#backing = backing;
    this.#tables = tables;
    this.#clusterSize = clusterSize;
    const bits = coverageBits(clusterSize, extendedL2);
    this.#coverage = 2 ** bits;
    this.#coverageBits = BigInt(bits);
    this.#coverageMask = BigInt(this.#coverage - 1);
    this.#entries = new L2Entries({
      version,
      clusterBits: Math.log2(clusterSize),
      extendedL2,
      external: dataFile !== undefined,
      dataEnd: Number(min(this.#data.facts.size, BigInt(Number.MAX_SAFE_INTEGER))),
      device: file.name,
    });
    this.#allocations = new Allocations({ file, header, tables, entries: this.#entries, data: this.#data, backing });
    this.#compressed = new CompressedClusters(file, clusterSize, header.compression);
    this.facts = Object.freeze({
      size,
      writable: false,
      flush: false,
      trim: false,
      zero: 'none',
      fastZero: false,
      fua: 'none',
      extents: true,
      blockSize: Object.freeze({ minimum: 1, preferred: Math.max(4096, clusterSize), maximum: largestRequest }),
    });
  }

  protected doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    try {
      if (this.#locate(offset, into.length, this.#run) && this.#run.length === into.length) {
        return this.#readRun(this.#run, into, offset, options);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#readParts(into, offset, options);
  }

  /** Run by run, but for what continues in the next L2 table. */
  async #readParts(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    const parts = new InFlight(mostParts);
    const run = newRun();
    const next = newRun();
    let start = 0;
    try {
      run.length = 0;
      for (let at = 0; at < into.length && !parts.failed; at += next.length) {
        const where = offset + BigInt(at);
        while (!this.#locate(where, into.length - at, next)) {
          await this.#tables.load(Number(where >> this.#coverageBits));
        }
        if (at > 0 && continues(run, next)) {
          run.length += next.length;
          continue;
        }
        if (at > 0) {
          await parts.room();
          parts.add(this.#readRun(run, into.subarray(start, at), offset + BigInt(start), options));
        }
        start = at;
        Object.assign(run, next);
      }
      if (!parts.failed) parts.add(this.#readRun(run, into.subarray(start), offset + BigInt(start), options));
    } finally {
      await parts.end();
    }
  }

  /** Finds what lies at an offset; false when a table must be read for it. */
  #locate(offset: Bytes, length: number, run: Run): boolean {
    const index = Number(offset >> this.#coverageBits);
    const from = Number(offset & this.#coverageMask);
    const absent = this.#tables.absent(index, Math.ceil((from + length) / this.#coverage));
    if (absent > 0) {
      run.kind = 'unallocated';
      run.length = Math.min(absent * this.#coverage - from, length);
      return true;
    }
    const table = this.#tables.known(index);
    if (table === undefined) return false;
    const to = Math.min(this.#coverage, from + length);
    this.#entries.run(table, index * this.#coverage, from, to, 'request', run);
    return true;
  }

  /** Fills `into`, which is as long as the run, from where it lies. */
  #readRun(run: Run, into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    switch (run.kind) {
      case 'zero':
        into.fill(0);
        return done;
      case 'unallocated': {
        if (this.#backing !== undefined) return readUpTo(this.#backing, into, offset, options);
        into.fill(0);
        return done;
      }
      case 'data':
        return readUpTo(this.#data, into, BigInt(run.host), options);
      case 'compressed': {
        const start = Number(offset & BigInt(this.#clusterSize - 1));
        const cluster = this.#compressed.known(run.host);
        if (cluster === undefined) return this.#readCompressed({ ...run }, into, start);
        into.set(cluster.subarray(start, start + into.length));
        return done;
      }
    }
  }

  async #readCompressed(run: Run, into: Uint8Array, start: number): Promise<void> {
    const cluster = await this.#compressed.load(run);
    into.set(cluster.subarray(start, start + into.length));
  }

  firstAllocations(offset: Bytes, length: Bytes, options: AllocationOptions): Promise<readonly Allocation[]> {
    return this.#allocations.first(offset, length, options);
  }

  protected doPeek(): undefined {
    return undefined;
  }

  protected doWrite(): Promise<void> {
    return Promise.reject(this.readOnly('write'));
  }

  protected doZero(): Promise<void> {
    return Promise.reject(this.readOnly('zero'));
  }

  protected doTrim(): Promise<void> {
    return Promise.reject(this.readOnly('trim'));
  }

  protected doFlush(): Promise<void> {
    return done;
  }

  /** All of them, whatever fails; then the first failure is thrown. */
  protected async doClose(): Promise<void> {
    const devices = [this.#backing, this.#data === this.#file ? undefined : this.#data, this.#file];
    const closed = await Promise.allSettled(devices.map((device) => device?.close()));
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  }
}

/** Whether `next`, which follows on the disk, follows where it lies as well. */
function continues(run: Run, next: Run): boolean {
  if (run.kind !== next.kind || run.kind === 'compressed') return false;
  return run.kind !== 'data' || run.host + run.length === next.host;
}

/** Reads what a device has of a range, and zeros behind its end; whatever its smallest request. */
function readUpTo(device: BlockDevice, into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
  const { size, blockSize } = device.facts;
  const there = Number(max(0n, min(BigInt(into.length), size - offset)));
  const part = there === into.length ? into : into.subarray(0, there);
  if (there < into.length) into.fill(0, there);
  if (there === 0) return done;
  const end = offset + BigInt(there);
  const minimum = BigInt(blockSize.minimum);
  if (minimum === 1n || (offset % minimum === 0n && (end % minimum === 0n || end === size))) {
    return device.read(part, offset, options);
  }
  return readView(device, offset, there, options).then((view) => part.set(bytesOf(view)));
}
