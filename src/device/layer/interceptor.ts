import {
  type BlockDevice,
  guardedFileOf,
  type Operation,
  type RequestOptions,
  type WriteOptions,
  type ZeroOptions,
} from '../block-device.js';
import type { Bytes, Extent } from '../extent.js';
import { firstExtents } from '../first-extents.js';
import { Layer } from './layer.js';

/** A request on its way down. */
export interface Passing {
  readonly operation: Operation;
  readonly offset: Bytes;
  /** Bytes; 0 for a flush. */
  readonly length: Bytes;
  readonly options: ZeroOptions;
}

/** A layer that leaves bytes as they are and treats all operations alike: each goes through {@link around}. */
export abstract class Interceptor extends Layer {
  /** @param name what stands before the name of the device below: `delay over a.img` */
  protected constructor(below: BlockDevice, what: string) {
    const guardedFile = guardedFileOf(below);
    super(below, {
      guardedFile: guardedFile && {
        ...guardedFile,
        admit: (offset, length, options) =>
          this.around({ operation: 'read', offset, length, options }, () => guardedFile.admit(offset, length, options)),
      },
    });
    this.name = `${what} over ${below.name}`;
  }

  readonly name: string;

  /**
   * Carries a request out by calling `next`, now or later, or refuses it. What `next` returned should be returned itself
   * where nothing has to follow it: it may be a promise that is known to be settled.
   */
  protected abstract around<Result>(request: Passing, next: () => Promise<Result>): Promise<Result>;

  protected doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    const request: Passing = { operation: 'read', offset, length: BigInt(into.length), options };
    return this.around(request, () => this.below.read(into, offset, options));
  }

  protected doWrite(from: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void> {
    const request: Passing = { operation: 'write', offset, length: BigInt(from.length), options };
    return this.around(request, () => this.below.write(from, offset, options));
  }

  protected doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    const request: Passing = { operation: 'zero', offset, length, options };
    return this.around(request, () => this.below.zero(offset, length, options));
  }

  protected doTrim(offset: Bytes, length: Bytes, options: WriteOptions): Promise<void> {
    const request: Passing = { operation: 'trim', offset, length, options };
    return this.around(request, () => this.below.trim(offset, length, options));
  }

  protected doFlush(options: RequestOptions): Promise<void> {
    const request: Passing = { operation: 'flush', offset: 0n, length: 0n, options };
    return this.around(request, () => this.below.flush(options));
  }

  protected doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    const request: Passing = { operation: 'extents', offset, length, options };
    return this.around(request, () => firstExtents(this.below, offset, length, options));
  }
}
