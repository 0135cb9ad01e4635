import { min } from '../binary/convert.js';
import { zeros } from '../binary/zeros.js';
import { DiskError } from '../error/disk-error.js';
import { hex } from '../error/message.js';
import { type Bytes, clip, type Extent, joins } from './extent.js';
import type { HeadGuard } from './head-guard.js';

/** `native`: the device does it itself; `emulated`: the gate does it with other operations; `none`: not at all. */
export type Support = 'native' | 'emulated' | 'none';

/** What a device is and can do: fixed for life, asked once, never awaited. */
export interface DeviceFacts {
  /** Bytes: 0 … 2^63 - 1. */
  readonly size: Bytes;
  readonly writable: boolean;
  /** Whether `flush` makes earlier writes durable. */
  readonly flush: boolean;
  readonly trim: boolean;
  readonly zero: Support;
  /** Whether `zero` with `fast` ever succeeds: never slower than writing, or refused at once. */
  readonly fastZero: boolean;
  readonly fua: Support;
  /** Whether `extents` knows anything; without it, all is allocated data. */
  readonly extents: boolean;
  /** Bytes; requests are multiples of `minimum` (but at the very end), and are split to `maximum`. */
  readonly blockSize: { readonly minimum: number; readonly preferred: number; readonly maximum: number };
  /**
   * Plain bytes of a host file from `offset` on: whoever moves many bytes may go straight to it. A layer never hands it
   * on, or its work would be gone round; only a slice does, shifted. Closing the device does not wait for who does so.
   */
  readonly hostFile?: HostFile | undefined;
  /** Instead of `hostFile`, where layers leave its bytes as they are but have a word in each request. */
  readonly guardedFile?: GuardedFile | undefined;
}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
}
export interface WriteOptions extends RequestOptions {
  /** Durable before it resolves. */
  readonly fua?: boolean | undefined;
}
export interface ZeroOptions extends WriteOptions {
  /** The room below may be given back, as long as the bytes read as zeros. */
  readonly mayTrim?: boolean | undefined;
  /** Refused with UNSUPPORTED rather than done by writing zeros. */
  readonly fast?: boolean | undefined;
}

/** What a device can be asked to do. */
export const operations = ['read', 'write', 'zero', 'trim', 'flush', 'extents'] as const;
export type Operation = (typeof operations)[number];

/**
 * What a request that was satisfied at once returns: whoever compares with it need not wait a turn to go on. Never
 * compared for anything but speed.
 */
export const done: Promise<void> = Promise.resolve();

/** Where a host file holds a device's bytes. */
export interface HostFile {
  readonly fd: number;
  /** Bytes from the start of the file. */
  readonly offset: Bytes;
  /** `memory`: a file without a disk behind it. */
  readonly kind: 'file' | 'memory' | 'block';
  /** Whoever writes to the first bytes of the file must heed it. */
  readonly guard?: HeadGuard | undefined;
}

/** A host file that may be read past the layers over it, a range at a time, once they have let the read through. */
export interface GuardedFile {
  readonly file: HostFile;
  /** Whether the file's bytes are those of this range; all are, where it is absent. Others are read through the layers. */
  readonly holds?: ((offset: Bytes, length: Bytes) => boolean) | undefined;
  /** Does all that a read of this range does, but for moving bytes; rejects where that would. */
  admit(offset: Bytes, length: Bytes, options: RequestOptions): Promise<void>;
}

/** A device's file for whoever stands over it and has a word in each read. */
export function guardedFileOf({ facts: { hostFile, guardedFile } }: BlockDevice): GuardedFile | undefined {
  return guardedFile ?? (hostFile && { file: hostFile, admit: () => done });
}

/**
 * Everything that holds bytes, and everything that changes what a disk does over another that holds bytes.
 *
 * The public methods are the gate, at every hop: range, capability, signal, zero length, splitting to the largest
 * request, emulation of FUA and of zeroing. So every `do…` may assume arguments that are valid. All of them are abstract
 * on purpose: a new operation stops each layer from compiling until its author has decided what it means there.
 *
 * The caller owns the buffers, and leaves them alone until the promise settles. A read that can be satisfied at once
 * returns one shared resolved promise.
 *
 * Every method rejects with {@link DiskError}: USAGE out of range, READ_ONLY, UNSUPPORTED, CANCELLED, IO when closed or
 * when the device fails.
 */
export abstract class BlockDevice implements AsyncDisposable {
  /** The full name, in every error: `slice[1048576+…] of a.img`. */
  abstract readonly name: string;
  abstract readonly facts: DeviceFacts;
  #closing: Promise<void> | undefined;

  /** Fills `into` from `offset` on, or rejects. */
  read(into: Uint8Array, offset: Bytes, options: RequestOptions = {}): Promise<void> {
    const refusal = this.#refuse('read', offset, into.length, options);
    if (refusal !== undefined) return Promise.reject(refusal);
    if (into.length === 0) return done;
    const { maximum } = this.facts.blockSize;
    if (into.length <= maximum) return this.doRead(into, offset, options);
    return this.#inPieces('read', into.length, options, (start, end) =>
      this.doRead(into.subarray(start, end), offset + BigInt(start), options),
    );
  }

  /** Writes all of `from` at `offset`, or rejects: then any part of it may have been written. */
  write(from: Uint8Array, offset: Bytes, options: WriteOptions = {}): Promise<void> {
    const refusal = this.#refuse('write', offset, from.length, options);
    if (refusal !== undefined) return Promise.reject(refusal);
    if (from.length === 0) return done;
    const { maximum } = this.facts.blockSize;
    const passed = this.#passFua(options);
    const written =
      from.length <= maximum
        ? this.doWrite(from, offset, passed)
        : this.#inPieces('write', from.length, options, (start, end) =>
            this.doWrite(from.subarray(start, end), offset + BigInt(start), passed),
          );
    return this.#thenFlush(written, options);
  }

  /** Makes a range read as zeros. */
  async zero(offset: Bytes, length: Bytes, options: ZeroOptions = {}): Promise<void> {
    const refusal = this.#refuse('zero', offset, length, options);
    if (refusal !== undefined) throw refusal;
    if (length === 0n) return;
    const passed = this.#passFua(options);
    if (this.facts.zero === 'native' && (options.fast !== true || this.facts.fastZero)) {
      try {
        await this.doZero(offset, length, passed);
        return await this.#thenFlush(done, options);
      } catch (error) {
        if (!(error instanceof DiskError && error.code === 'UNSUPPORTED') || options.fast === true) throw error;
      }
    }
    if (options.fast === true) throw this.#unsupported('fast zero');
    const piece = BigInt(Math.min(zeros.length, this.facts.blockSize.maximum));
    for (let at = offset; at < offset + length; at += piece) {
      this.#checkStillWanted('zero', options);
      await this.doWrite(zeros.subarray(0, Number(min(piece, offset + length - at))), at, passed);
    }
    await this.#thenFlush(done, options);
  }

  /** Says that nobody cares any more what a range holds. */
  async trim(offset: Bytes, length: Bytes, options: WriteOptions = {}): Promise<void> {
    const refusal = this.#refuse('trim', offset, length, options);
    if (refusal !== undefined) throw refusal;
    if (length === 0n) return;
    await this.doTrim(offset, length, this.#passFua(options));
    await this.#thenFlush(done, options);
  }

  /** Makes everything written before durable. */
  async flush(options: RequestOptions = {}): Promise<void> {
    const refusal = this.#refuse('flush', 0n, 0, options);
    if (refusal !== undefined) throw refusal;
    await this.doFlush(options);
  }

  /** Tiles the range with maximal extents, in order. */
  async *extents(
    offset: Bytes = 0n,
    length: Bytes = this.facts.size - offset,
    options: RequestOptions = {},
  ): AsyncGenerator<Extent, void, undefined> {
    const end = offset + length;
    const refusal = this.#refuse('extents', offset, length, options);
    if (refusal !== undefined) throw refusal;
    let pending: Extent | undefined;
    for (let at = offset; at < end; ) {
      this.#checkStillWanted('extents', options);
      const batch = this.facts.extents
        ? await this.doExtents(at, end - at, options)
        : [{ offset: at, length: end - at, allocated: true, zero: false }];
      const before = at;
      for (const extent of batch) {
        const part = clip(extent, at, end);
        if (part === undefined) continue;
        if (part.offset !== at) break;
        at += part.length;
        if (pending !== undefined && joins(pending, part)) {
          pending = { ...pending, length: pending.length + part.length };
        } else {
          if (pending !== undefined) yield pending;
          pending = part;
        }
      }
      if (at === before) throw new DiskError('IO', `${this.name}: reported no extent at byte ${hex(at)}`);
    }
    if (pending !== undefined) yield pending;
  }

  /** Bytes that lie in memory already, not to be written to, or undefined. */
  peek(offset: Bytes, length: number): Uint8Array | undefined {
    return this.#refuse('read', offset, length, {}) === undefined ? this.doPeek(offset, length) : undefined;
  }

  /** Releases everything; later calls return the same promise. Does not flush. */
  close(): Promise<void> {
    this.#closing ??= this.doClose();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  protected abstract doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void>;
  protected abstract doWrite(from: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void>;
  protected abstract doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void>;
  protected abstract doTrim(offset: Bytes, length: Bytes, options: WriteOptions): Promise<void>;
  protected abstract doFlush(options: RequestOptions): Promise<void>;
  /** One or more extents in order, the first of which holds the byte at `offset`; they may pass the range. */
  protected abstract doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]>;
  protected abstract doPeek(offset: Bytes, length: number): Uint8Array | undefined;
  protected abstract doClose(): Promise<void>;

  /** Between the steps of one request: nothing more reaches a device that has been closed meanwhile. */
  #checkStillWanted(operation: Operation, { signal }: RequestOptions): void {
    if (this.#closing !== undefined) throw this.#closed(operation);
    if (signal?.aborted) throw DiskError.cancelled(signal);
  }

  #closed(operation: Operation): DiskError {
    return new DiskError('IO', `${operation} on ${this.name}: closed`, { device: this.name, errno: 'EBADF' });
  }

  #refuse(operation: Operation, offset: Bytes, length: number | Bytes, options: WriteOptions): DiskError | undefined {
    const { size, writable, trim, flush, zero, fua, blockSize } = this.facts;
    if (this.#closing !== undefined) return this.#closed(operation);
    if (options.signal?.aborted) return DiskError.cancelled(options.signal);
    const end = offset + BigInt(length);
    if (offset < 0n || length < 0 || end > size) {
      return new DiskError(
        'USAGE',
        `${operation} of ${length} bytes at byte ${hex(offset)} passes the end of ${this.name} (${size} bytes)`,
        { device: this.name, offset, errno: operation === 'write' || operation === 'zero' ? 'ENOSPC' : 'EINVAL' },
      );
    }
    const changes = operation === 'write' || operation === 'zero' || operation === 'trim';
    if (changes && !writable) return this.readOnly(operation);
    if ((operation === 'trim' && !trim) || (operation === 'flush' && !flush)) return this.#unsupported(operation);
    if (operation === 'zero' && zero === 'none') return this.#unsupported(operation);
    if (options.fua === true && changes && (fua === 'none' || (fua === 'emulated' && !flush))) {
      return this.#unsupported('FUA');
    }
    if (blockSize.minimum > 1 && (changes || operation === 'read')) {
      const minimum = BigInt(blockSize.minimum);
      if (offset % minimum !== 0n || (end % minimum !== 0n && end !== size)) {
        return new DiskError(
          'USAGE',
          `${operation} of ${length} bytes at byte ${hex(offset)} of ${this.name}: not a multiple of ${minimum} bytes`,
          { device: this.name, offset, errno: 'EINVAL' },
        );
      }
    }
    return undefined;
  }

  /** What the gate answers on a device that is not writable; a device that never is has no other word for it. */
  protected readOnly(operation: Operation): DiskError {
    return new DiskError('READ_ONLY', `${operation} on ${this.name}: read-only`, { device: this.name, errno: 'EPERM' });
  }

  #unsupported(what: string): DiskError {
    return new DiskError('UNSUPPORTED', `${what} on ${this.name}: not supported`, {
      device: this.name,
      errno: 'EOPNOTSUPP',
    });
  }

  async #inPieces(
    operation: Operation,
    length: number,
    options: RequestOptions,
    each: (start: number, end: number) => Promise<void>,
  ): Promise<void> {
    const { maximum } = this.facts.blockSize;
    for (let start = 0; start < length; start += maximum) {
      this.#checkStillWanted(operation, options);
      await each(start, Math.min(start + maximum, length));
    }
  }

  /** The options as the device sees them: `fua` only where it does that itself. */
  #passFua<Options extends WriteOptions>(options: Options): Options {
    return options.fua === true && this.facts.fua !== 'native' ? { ...options, fua: false } : options;
  }

  #thenFlush(written: Promise<void>, options: WriteOptions): Promise<void> {
    if (options.fua !== true || this.facts.fua === 'native') return written;
    return written.then(() => {
      this.#checkStillWanted('flush', {});
      return this.doFlush({});
    });
  }
}
