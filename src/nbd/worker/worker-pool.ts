import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { compiledFile } from '../../host/compiled.js';
import { duplicate } from '../../host/socket.js';
import type { Served } from '../connection.js';
import type { Negotiated } from '../handshake.js';
import type { FromWorker, ToWorker } from './messages.js';
import { describePlain } from './plain-device.js';

/** Each takes some 9 MB, and 70 ms to start. */
const most = Math.min(availableParallelism(), 4);

/** Threads that serve plain files, each many connections. They are started as they are needed. */
export class WorkerPool {
  readonly #workers: ServingThread[] = [];
  #nextId = 0;
  #closing = false;

  /**
   * Takes over a connection whose handshake is over.
   *
   * @param fd of its socket; the caller closes it
   * @param rest takes what has arrived after the handshake
   * @returns undefined when the device is more than bytes of a host file
   */
  take(fd: number, { export: exported, style, allocation }: Negotiated, rest: () => Buffer): Served | undefined {
    const device = describePlain(exported.device);
    if (device === undefined || this.#closing) return undefined;
    const { readOnly = false } = exported;
    const id = this.#nextId++;
    const connection = { id, socket: duplicate(fd), device, readOnly, style, allocation, rest: rest() };
    return this.#leastLoaded().serve({ type: 'serve', connection });
  }

  /** Ends the threads. Their connections have been closed. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#workers.map((worker) => worker.end()));
  }

  #leastLoaded(): ServingThread {
    const alive = this.#workers.filter(({ failed }) => !failed);
    const [idlest] = alive.toSorted((a, b) => a.load - b.load);
    if (idlest !== undefined && (idlest.load === 0 || alive.length === most)) return idlest;
    const started = new ServingThread();
    this.#workers.push(started);
    return started;
  }
}

/** Milliseconds: longer than a thread takes to load its modules. */
const longestLoad = 5000;

/** Flags of the threads there are. A process that exits while a thread of it still loads koffi is aborted by it. */
const flags = new Set<Int32Array>();
process.on('exit', () => {
  for (const loaded of flags) Atomics.wait(loaded, 0, 0, longestLoad);
});

class ServingThread {
  /** Set to 1 by the thread when its modules are loaded. */
  readonly #loaded = new Int32Array(new SharedArrayBuffer(4));
  readonly #thread: Worker;
  readonly #onClosed = new Map<number, () => void>();
  failed = false;

  constructor() {
    // Without our own arguments: not all of them go with a file to run.
    const options = { name: 'nbd', execArgv: [], workerData: this.#loaded };
    this.#thread = new Worker(compiledFile(import.meta.url, 'worker.js'), options);
    flags.add(this.#loaded);
    this.#thread.on('message', ({ closed }: FromWorker) => this.#closed(closed));
    this.#thread.on('exit', () => {
      flags.delete(this.#loaded);
      this.failed = true;
      for (const id of this.#onClosed.keys()) this.#closed(id);
    });
  }

  /** Connections. */
  get load(): number {
    return this.#onClosed.size;
  }

  serve(message: Extract<ToWorker, { type: 'serve' }>): Served {
    const { id } = message.connection;
    const closed = new Promise<void>((resolve) => this.#onClosed.set(id, resolve));
    this.#tell(message);
    return {
      closed,
      finish: (grace) => {
        this.#tell({ type: 'finish', id, grace });
        return closed;
      },
    };
  }

  async end(): Promise<void> {
    await this.#thread.terminate();
  }

  #closed(id: number): void {
    this.#onClosed.get(id)?.();
    this.#onClosed.delete(id);
  }

  #tell(message: ToWorker): void {
    this.#thread.postMessage(message);
  }
}
