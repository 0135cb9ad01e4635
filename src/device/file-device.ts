import { close, fstatSync, fsync } from 'node:fs';
import { promisify } from 'node:util';
import { min } from '../binary/convert.js';
import { DiskError } from '../error/disk-error.js';
import { hex } from '../error/message.js';
import { wrapSystemError } from '../host/errno.js';
import { readAt, readNow, writeAt, writeNow } from '../host/positioned.js';
import { punchHole, seekData, seekHole, zeroRange } from '../host/sparse.js';
import { BlockDevice, type DeviceFacts, done, type HostFile, type ZeroOptions } from './block-device.js';
import type { Bytes, Extent } from './extent.js';
import { type HeadGuard, headSize, writeHead, zeroHead } from './head-guard.js';

/** Bytes: copying more than this to or from the page cache would hold up everybody else on this thread for too long. */
const nowLimit = 1 << 20;
/** Milliseconds: a write that took longer met a disk that cannot keep up; then that many go to the thread pool. */
const slowWrite = 2;
const writesAfterSlow = 256;
/** The page cache's unit: SEEK_DATA and SEEK_HOLE are wrong about the last page below 2^63 on tmpfs. */
const lastPage = 2n ** 63n - 4096n;
/** Extents a batch. */
const batchSize = 256;

const closeFd = promisify(close);
const syncFd = promisify(fsync);

export interface FileDeviceOptions {
  /** For errors: the path as the user gave it. */
  name: string;
  size: Bytes;
  writable: boolean;
  /** Bytes: what the host allocates and punches by. */
  blockSize: number;
  /** What the file is, when not a regular file on a disk. Flushing memory costs nothing and means nothing. */
  kind?: HostFile['kind'];
  /** The descriptor is somebody else's, who keeps it open until this device is closed. */
  borrowed?: boolean;
  /**
   * Writes on this thread, as long as the disk keeps up: cheaper by the way to the thread pool and back, and for a thread
   * that has nothing to do but this.
   */
  writesNow?: boolean;
  /** What its first bytes must not become. */
  guard?: HeadGuard | undefined;
}

/** Plain bytes of a regular host file. Owns the descriptor, unless it is borrowed. */
export class FileDevice extends BlockDevice {
  readonly name: string;
  readonly facts: DeviceFacts;
  readonly #volatile: boolean;
  readonly #borrowed: boolean;
  readonly #writesNow: boolean;
  readonly #guard: HeadGuard | undefined;
  /** Writes that still go to the thread pool. */
  #deferred = 0;
  /** Cleared for good when the filesystem turns out not to know RWF_NOWAIT: then every read would ask twice. */
  #triesNow: boolean;
  #missedNow = 0;
  /** Requests that the thread pool still holds the descriptor for. */
  #inFlight = 0;
  #whenIdle: (() => void) | undefined;

  constructor(
    readonly fd: number,
    { name, size, writable, blockSize, kind = 'file', borrowed = false, writesNow = false, guard }: FileDeviceOptions,
  ) {
    super();
    this.name = name;
    this.#volatile = kind === 'memory';
    this.#borrowed = borrowed;
    this.#writesNow = writesNow;
    this.#guard = guard;
    this.#triesNow = true;
    this.facts = Object.freeze({
      size,
      writable,
      flush: true,
      trim: writable,
      zero: 'native',
      fastZero: true,
      fua: 'emulated',
      extents: kind !== 'block',
      blockSize: Object.freeze({ minimum: 1, preferred: Math.max(4096, blockSize), maximum: 32 << 20 }),
      hostFile: Object.freeze({ fd, offset: 0n, kind, guard }),
    });
  }

  protected doRead(into: Uint8Array, offset: Bytes): Promise<void> {
    let filled = 0;
    if (this.#triesNow && into.length <= nowLimit) {
      filled = readNow(this.fd, into, offset, this.#volatile);
      if (filled === into.length) return done;
      // A cold disk misses as well, but never again and again without one hit.
      if (filled > 0) this.#missedNow = 0;
      else if (++this.#missedNow > 1000) this.#triesNow = false;
    }
    return this.tracked(this.#readRest(into.subarray(filled), offset + BigInt(filled)));
  }

  async #readRest(into: Uint8Array, offset: Bytes): Promise<void> {
    const got = await readAt(this.fd, into, offset, this.name);
    if (got < into.length) {
      throw this.#cutShort(offset + BigInt(got));
    }
  }

  protected doWrite(from: Uint8Array, offset: Bytes): Promise<void> {
    const guard = this.#guard;
    if (guard === undefined || offset >= headSize || from.length === 0) return this.#writeUnguarded(from, offset);
    return this.#behindHead(
      () => writeHead(this.fd, guard, from, Number(offset), this.name),
      (written) => this.#writeUnguarded(from.subarray(written), offset + BigInt(written)),
      from.length,
    );
  }

  /** What lies in the head is written first, and what lies behind it then. */
  #behindHead(head: () => number, rest: (written: number) => Promise<void>, length: number | Bytes): Promise<void> {
    try {
      const written = head();
      return BigInt(written) < length ? rest(written) : done;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #writeUnguarded(from: Uint8Array, offset: Bytes): Promise<void> {
    if (this.#writesNow && from.length <= nowLimit) {
      if (this.#deferred === 0) return this.#writeNow(from, offset);
      this.#deferred--;
    }
    return this.tracked(writeAt(this.fd, from, offset, this.name));
  }

  #writeNow(from: Uint8Array, offset: Bytes): Promise<void> {
    const start = performance.now();
    try {
      writeNow(this.fd, from, offset, this.name);
    } catch (error) {
      return Promise.reject(error);
    }
    if (performance.now() - start > slowWrite && !this.#volatile) this.#deferred = writesAfterSlow;
    return done;
  }

  protected doZero(offset: Bytes, length: Bytes, { mayTrim = false }: ZeroOptions): Promise<void> {
    return this.#zeroGuarded(offset, length, (from, count) => this.#zeroUnguarded(from, count, mayTrim));
  }

  /** A head that is zeros as a whole is of no format: then `zero` may do it as it likes. */
  #zeroGuarded(offset: Bytes, length: Bytes, zero: (offset: Bytes, length: Bytes) => Promise<void>): Promise<void> {
    const guard = this.#guard;
    const whole = offset === 0n && length >= headSize;
    if (guard === undefined || offset >= headSize || length === 0n || whole) return zero(offset, length);
    return this.#behindHead(
      () => zeroHead(this.fd, guard, Number(offset), length, this.name),
      (written) => zero(offset + BigInt(written), length - BigInt(written)),
      length,
    );
  }

  #zeroUnguarded(offset: Bytes, length: Bytes, mayTrim: boolean): Promise<void> {
    // Memory knows no zero range, and a hole in it is as good.
    const change = mayTrim || this.#volatile ? punchHole : zeroRange;
    return this.tracked(change(this.fd, offset, length, this.name));
  }

  protected doTrim(offset: Bytes, length: Bytes): Promise<void> {
    return this.#zeroGuarded(offset, length, (from, count) => this.tracked(punchHole(this.fd, from, count, this.name)));
  }

  protected doFlush(): Promise<void> {
    if (this.#volatile) return done;
    return this.tracked(
      syncFd(this.fd).catch((error: unknown) => {
        throw wrapSystemError(`fsync of ${this.name}`, error);
      }),
    );
  }

  protected doExtents(offset: Bytes, length: Bytes): Promise<readonly Extent[]> {
    return new Promise((resolve) => resolve(this.#seekExtents(offset, offset + length)));
  }

  #seekExtents(start: Bytes, end: Bytes): Extent[] {
    const batch: Extent[] = [];
    const push = (from: Bytes, to: Bytes, data: boolean) => {
      if (from < to) batch.push({ offset: from, length: to - from, allocated: data, zero: !data });
    };
    const seekEnd = min(end, lastPage);
    let at = start;
    while (at < seekEnd && batch.length < batchSize) {
      const found = seekData(this.fd, at, this.name);
      if (found === undefined) this.#refuseIfCut();
      const data = min(found ?? seekEnd, seekEnd);
      push(at, data, false);
      if (data === seekEnd) at = seekEnd;
      else {
        const hole = min(seekHole(this.fd, data, this.name) ?? seekEnd, seekEnd);
        at = hole > data ? hole : seekEnd;
        push(data, at, true);
      }
    }
    if (at >= lastPage) push(at, end, true);
    return batch;
  }

  /** What lies behind a file's end looks like a hole, which a copy would take for zeros. */
  #refuseIfCut(): void {
    const { size } = fstatSync(this.fd, { bigint: true });
    if (size < this.facts.size) throw this.#cutShort(size);
  }

  #cutShort(end: Bytes): DiskError {
    return new DiskError('IO', `${this.name}: ends at byte ${hex(end)}: it was cut short while in use`, {
      device: this.name,
      offset: end,
      errno: 'EIO',
    });
  }

  protected doPeek(): undefined {
    return undefined;
  }

  /**
   * Waits for what is in flight: the kernel gives the number of a closed descriptor to the next file that is opened, and
   * a write that is still queued would go to that file.
   */
  protected async doClose(): Promise<void> {
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    if (!this.#borrowed) await closeFd(this.fd);
  }

  /** Keeps the descriptor open until `work` settles. */
  protected async tracked(work: Promise<void>): Promise<void> {
    this.#inFlight++;
    try {
      await work;
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#whenIdle?.();
    }
  }
}
