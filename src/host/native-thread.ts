import { Worker } from 'node:worker_threads';
import { closeGate, newGate } from './native-gate.js';

/** Milliseconds: longer than a thread takes to load its modules, and than any call that it makes. */
const longestCall = 5000;

/** The threads there are. */
const threads = new Set<NativeThread>();
process.on('exit', () => {
  for (const thread of threads) thread.shut();
});

/** What a thread is given to begin with. */
export interface ThreadData<Data> {
  readonly gate: Int32Array;
  readonly data: Data;
}

export interface ThreadOptions {
  readonly name: string;
  /** Wakes the thread where it waits in a call for something that may never happen. */
  readonly wake?: (() => void) | undefined;
}

/** A thread of ours that makes native calls, and is never ended inside one: neither by `end` nor when the process ends. */
export class NativeThread {
  readonly #gate = newGate();
  readonly #wake: (() => void) | undefined;
  readonly worker: Worker;
  /** Resolves once it has ended, with what it threw. */
  readonly ended: Promise<Error | undefined>;

  /** @param file compiled; its `workerData` is a {@link ThreadData}, and it calls `useGate` once it has loaded */
  constructor(file: string, data: unknown, { name, wake }: ThreadOptions) {
    this.#wake = wake;
    const workerData: ThreadData<unknown> = { gate: this.#gate, data };
    // Without our own arguments: not all of them go with a file to run.
    this.worker = new Worker(file, { name, execArgv: [], workerData });
    threads.add(this);
    let thrown: Error | undefined;
    this.worker.on('error', (error) => {
      thrown = error instanceof Error ? error : new Error(String(error));
    });
    this.ended = new Promise((resolve) => {
      this.worker.on('exit', () => {
        threads.delete(this);
        resolve(thrown);
      });
    });
  }

  /** Keeps it out of native calls from now on, and waits until it is. */
  shut(): void {
    this.#wake?.();
    closeGate(this.#gate, longestCall);
  }

  /** Ends it wherever it is. */
  async end(): Promise<void> {
    this.shut();
    await this.worker.terminate();
  }
}
