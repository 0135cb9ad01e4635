import type { DiskError } from '../../error/disk-error.js';
import { systemError } from '../../host/errno.js';
import { command, errorValue } from '../on-wire.js';

/** Chunks of one reply: far more than any server has reason to send. */
const mostChunks = 64 << 10;

const errorNames = new Map<number, string>(Object.entries(errorValue).map(([name, value]) => [value, name]));

/** What is known of a part of the export. */
export interface StatusExtent {
  readonly length: bigint;
  /** Flags of base:allocation. */
  readonly status: number;
}

/** A request that waits for its reply, and what has come of that. */
export class Pending {
  readonly reply: Promise<readonly StatusExtent[]>;
  #resolve: (extents: readonly StatusExtent[]) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #error: DiskError | undefined;
  #chunks: [start: number, end: number][] = [];
  readonly #extents: StatusExtent[] = [];

  /**
   * @param what for errors: `read of 512 bytes at byte 0x0 of nbd://localhost`
   * @param into where a read's data go; its length is the request's
   */
  constructor(
    readonly type: number,
    readonly offset: bigint,
    readonly length: bigint,
    private readonly what: string,
    private into: Uint8Array | undefined,
  ) {
    this.reply = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Where the next bytes of data go; undefined when nobody wants them any more. */
  target(start: number, length: number): Uint8Array | undefined {
    return this.into?.subarray(start, start + length);
  }

  /** Takes note of a chunk of data; false when it lies outside of what was asked for. */
  addChunk(offset: bigint, length: bigint): boolean {
    const start = offset - this.offset;
    if (this.type !== command.READ || start < 0n || length <= 0n || start + length > this.length) return false;
    this.#chunks.push([Number(start), Number(start + length)]);
    return this.#chunks.length <= mostChunks;
  }

  addExtent(extent: StatusExtent): void {
    this.#extents.push(extent);
  }

  get extents(): readonly StatusExtent[] {
    return this.#extents;
  }

  /** The server could not do it. The first reason counts. */
  addError(error: number): void {
    this.#error ??= systemError(this.what, errorNames.get(error) ?? 'EINVAL', { offset: this.offset });
  }

  /** The reply is whole: undefined, or how the server broke its promise. */
  finish(): string | undefined {
    if (this.#error !== undefined) {
      this.#reject(this.#error);
      return undefined;
    }
    if (this.type === command.READ && !this.#isCovered()) return 'leaves out or repeats a part of the data';
    if (this.type === command.BLOCK_STATUS && this.#extents.length === 0) return 'knows nothing of a range';
    this.#resolve(this.#extents);
    return undefined;
  }

  /** Nobody waits any more: data that still come are dropped. */
  abandon(error: unknown): void {
    this.into = undefined;
    this.#reject(error);
  }

  #isCovered(): boolean {
    if (this.#chunks.length > 1) this.#chunks.sort(([a], [b]) => a - b);
    let at = 0;
    for (const [start, end] of this.#chunks) {
      if (start !== at) return false;
      at = end;
    }
    return at === Number(this.length);
  }
}
