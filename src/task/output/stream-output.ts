import { close, fstatSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { min } from '../../binary/convert.js';
import { zeros } from '../../binary/zeros.js';
import { DiskError } from '../../error/disk-error.js';
import { openForStreaming, waitWritable, widenPipe, writeNext } from '../../host/pipe.js';
import type { Output } from './output.js';

const standard = { output: 1, error: 2 };

const closeFd = promisify(close);

/** Milliseconds between two looks for a FIFO's reader. */
const readerInterval = 50;

/** What takes bytes only in order: a pipe, a FIFO, a character device, standard output. */
export class StreamOutput implements Output {
  readonly blank = false;
  readonly ordered = true;
  #written = 0n;
  /** Settles when all that was given so far is written. */
  #last: Promise<void> = Promise.resolve();

  private constructor(
    readonly name: string,
    private readonly descriptor: number,
    private readonly owned: boolean,
    private readonly signal: AbortSignal | undefined,
  ) {
    widenPipe(descriptor);
  }

  /** Opens a path, and waits for a FIFO's reader. */
  static async open(path: string, name: string, signal: AbortSignal | undefined): Promise<StreamOutput> {
    for (;;) {
      const fd = await openForStreaming(path, name);
      if (fd !== undefined) return new StreamOutput(name, fd, true, signal);
      if (signal?.aborted) throw DiskError.cancelled(signal);
      await sleep(readerInterval);
    }
  }

  /** Standard output, or standard error, which stays open. */
  static async standard(
    signal: AbortSignal | undefined,
    which: keyof typeof standard = 'output',
  ): Promise<StreamOutput> {
    const [name, fd] = [`standard ${which}`, standard[which]];
    // A pipe is opened anew, so that not waiting for its reader is our own matter and not our parent's.
    if (fstatSync(fd).isFIFO()) return await StreamOutput.open(`/proc/self/fd/${fd}`, name, signal);
    return new StreamOutput(name, fd, false, signal);
  }

  get written(): bigint {
    return this.#written;
  }

  write(from: Uint8Array): Promise<void> {
    this.#last = this.#last.then(() => this.#write(from));
    return this.#last;
  }

  zero(_offset: bigint, length: bigint): Promise<void> {
    this.#last = this.#last.then(async () => {
      const piece = BigInt(zeros.length);
      for (let left = length; left > 0n; left -= piece) {
        await this.#write(zeros.subarray(0, Number(min(left, piece))));
      }
    });
    return this.#last;
  }

  async #write(from: Uint8Array): Promise<void> {
    for (let written = 0; written < from.length; ) {
      if (this.signal?.aborted) throw DiskError.cancelled(this.signal);
      const now = await writeNext(this.descriptor, from.subarray(written), this.name);
      written += now;
      this.#written += BigInt(now);
      if (now === 0) await waitWritable(this.descriptor, this.name);
    }
  }

  finish(): Promise<void> {
    return this.discard();
  }

  async discard(): Promise<void> {
    if (this.owned) await closeFd(this.descriptor);
  }
}
