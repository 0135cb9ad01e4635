/** Where a copy goes. Whoever opened it ends it with exactly one of `finish` and `discard`. */
export interface Output {
  /** As the user gave it; `standard output` for `-`. */
  readonly name: string;
  /** Reads as zeros wherever nothing is written: zeros need no writing. */
  readonly blank: boolean;
  /**
   * Takes bytes in ascending order only: all of them, unless it is blank. A call may be made once the one before has
   * returned, and need not wait for what that promised. One that is blank looks for zeros itself.
   */
  readonly ordered: boolean;
  /** Bytes that were written to it. */
  readonly written: bigint;
  /** A regular file of its own, empty but for its length, that may share blocks with others. */
  readonly fd?: number | undefined;
  write(from: Uint8Array, offset: bigint): Promise<void>;
  /** Makes a range read as zeros. */
  zero(offset: bigint, length: bigint): Promise<void>;
  /** Makes it durable and, if it is a file, puts it in its place. */
  finish(): Promise<void>;
  /** Drops it: of a file nothing is left. */
  discard(): Promise<void>;
}
