import { setTimeout as sleep } from 'node:timers/promises';
import { DiskError } from '../../error/disk-error.js';

/** Waits that end early when the request is cancelled or the device is closed. */
export class Pauses {
  readonly #closing = new AbortController();

  /** @param name of the device, for the error */
  constructor(private readonly name: string) {}

  /**
   * @param milliseconds above 0
   * @throws {DiskError} CANCELLED by the signal; IO when the device is closed meanwhile
   */
  async wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    const closing = this.#closing.signal;
    const either = signal === undefined ? closing : AbortSignal.any([closing, signal]);
    try {
      await sleep(milliseconds, undefined, { signal: either });
    } catch (error) {
      if (signal?.aborted) throw DiskError.cancelled(signal);
      throw new DiskError('IO', `${this.name}: closed`, { device: this.name, errno: 'EBADF', cause: error });
    }
  }

  /** Ends all of them. */
  end(): void {
    this.#closing.abort();
  }
}
