import { close, open } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DiskError } from '../../../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../../../host/errno.js';
import { StreamOutput } from '../../output/stream-output.js';

const openFd = promisify(open);
const closeFd = promisify(close);

/** Characters of lines that wait for a slow reader: of usual ones, a million. */
const mostWaiting = 64 << 20;
/** Characters that are written at a time. */
const chunkSize = 1 << 20;
/** Milliseconds that a slow reader has at the end to take what waits. */
const grace = 5000;

export interface TraceOutputOptions {
  /** Standard output, standard error, or a file, which must not be there, a FIFO or a device. */
  readonly to: 'output' | 'error' | { readonly file: string };
  /** The line that stands where so many others were lost. */
  readonly lost: (count: number) => string;
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Characters that may wait. */
  readonly limit?: number | undefined;
}

/**
 * Writes lines without making anybody wait for them. What a reader is too slow for waits in memory; past a limit lines are
 * left out, and one in their place says how many. One that is gone is warned of, and the rest counts as lost.
 */
export class TraceOutput {
  #waiting: string[] = [];
  #length = 0;
  /** Of the lines before the one that waits next, how many were left out. */
  #leftOut = 0;
  #lost = 0;
  #pump: Promise<void> | undefined;
  #broken = false;
  /** Writing failed, which was warned of. */
  #failed = false;
  readonly #limit: number;

  private constructor(
    private readonly output: StreamOutput,
    private readonly options: TraceOutputOptions,
    private readonly ending: AbortController,
    /** The file, when it was not there before. */
    private readonly made?: string | undefined,
  ) {
    this.#limit = options.limit ?? mostWaiting;
  }

  /** @throws {DiskError} UNSAFE when a file is there already; NOT_FOUND, IO; CANCELLED while a FIFO has no reader */
  static async open(options: TraceOutputOptions): Promise<TraceOutput> {
    const { to, signal } = options;
    const ending = new AbortController();
    if (typeof to === 'string') {
      const output = await StreamOutput.standard(ending.signal, to);
      return new TraceOutput(output, options, ending);
    }
    const made = (await makeFile(to.file)) ? to.file : undefined;
    const stop = () => ending.abort(signal?.reason);
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      return new TraceOutput(await StreamOutput.open(to.file, to.file, ending.signal), options, ending, made);
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /** Lines that nobody will ever see. */
  get lost(): number {
    return this.#lost;
  }

  /** @param line with its end */
  write(line: string): void {
    if (this.#broken || this.#length + line.length > this.#limit) {
      this.#lost++;
      this.#leftOut++;
      return;
    }
    this.#tellLost();
    this.#add(line);
  }

  /**
   * Writes what waits, as far as the reader takes it within some seconds, and closes a file.
   *
   * @param keep unless it is true, a file that was made and has nothing in it is removed
   */
  async end(keep: boolean): Promise<void> {
    if (!this.#broken) this.#tellLost();
    const late = sleep(grace, undefined, { signal: this.ending.signal, ref: false }).then(
      () => this.ending.abort(new Error('the reader takes no more')),
      () => {},
    );
    await Promise.race([this.#pump, late]);
    this.ending.abort();
    await this.#pump;
    // Whoever writes now is too late: the descriptor may be another file's.
    this.#broken = true;
    await this.output.discard();
    if (!keep && this.made !== undefined && this.output.written === 0n) await rm(this.made, { force: true });
    const why = this.#failed ? '' : ': nobody took them in time';
    if (this.#lost > 0) this.options.onWarning?.(`${this.#lost} lines of the trace were lost${why}`);
  }

  #tellLost(): void {
    if (this.#leftOut === 0) return;
    const line = this.options.lost(this.#leftOut);
    this.#leftOut = 0;
    this.#add(line);
  }

  #add(line: string): void {
    this.#waiting.push(line);
    this.#length += line.length;
    this.#pump ??= this.#write();
  }

  async #write(): Promise<void> {
    // What is told in one turn leaves together.
    await new Promise((resolve) => setImmediate(resolve));
    let [start, next] = [0, 0];
    try {
      while (next < this.#waiting.length) {
        start = next;
        let length = 0;
        while (next < this.#waiting.length && length < chunkSize) length += this.#waiting[next++]?.length ?? 0;
        await this.output.write(Buffer.from(this.#waiting.slice(start, next).join('')));
        this.#length -= length;
        // Those that have been written are let go of from time to time: moving the others costs.
        if (next < 1 << 14) continue;
        this.#waiting.splice(0, next);
        next = 0;
      }
      this.#waiting = [];
    } catch (error) {
      this.#broken = true;
      this.#lost += this.#waiting.length - start;
      this.#waiting = [];
      if (this.ending.signal.aborted) return;
      const why = errnoOf(error) === 'EPIPE' ? 'its reader is gone' : error instanceof Error ? error.message : '';
      this.#failed = true;
      this.options.onWarning?.(`the trace ends: ${why}`);
    }
    // At once: a line that is told before somebody who waits for this has his turn is to be written too.
    this.#pump = undefined;
  }
}

/** @returns whether there was nothing */
async function makeFile(path: string): Promise<boolean> {
  const there = await stat(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw wrapSystemError(`stat ${path}`, error);
    return undefined;
  });
  if (there?.isDirectory()) throw new DiskError('USAGE', `${path} is a folder: name the file in it`, { device: path });
  if (there?.isFile() || there?.isBlockDevice()) {
    throw new DiskError('UNSAFE', `${path} is there already: remove it, or choose another name for the trace`, {
      device: path,
      errno: 'EEXIST',
      reason: 'output-exists',
    });
  }
  if (there !== undefined) return false;
  const fd = await openFd(path, 'wx').catch((error: unknown) => {
    throw wrapSystemError(`create ${path}`, error);
  });
  await closeFd(fd);
  return true;
}
