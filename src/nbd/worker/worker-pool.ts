import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { compiledFile } from '../../host/compiled.js';
import { closeGate, newGate } from '../../host/native-gate.js';
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
    const { readOnly = false, requests } = exported;
    const id = this.#nextId++;
    const agreed = { device, readOnly, style, allocation, requests: requests?.memory };
    const connection = { id, socket: duplicate(fd), ...agreed, rest: rest() };
    return this.#leastLoaded().serve({ type: 'serve', connection }, () => requests?.wake());
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

/** Milliseconds: longer than a thread takes to load its modules, and than any call that it makes. */
const longestCall = 5000;

/** The gates of the threads there are. */
const gates = new Set<Int32Array>();
process.on('exit', () => {
  for (const gate of gates) closeGate(gate, longestCall);
});

class ServingThread {
  readonly #gate = newGate();
  readonly #thread: Worker;
  readonly #connections = new Map<number, { readonly onClosed: () => void; readonly onNoted: () => void }>();
  failed = false;

  constructor() {
    // Without our own arguments: not all of them go with a file to run.
    const options = { name: 'nbd', execArgv: [], workerData: this.#gate };
    this.#thread = new Worker(compiledFile(import.meta.url, 'worker.js'), options);
    gates.add(this.#gate);
    this.#thread.on('message', (message: FromWorker) => {
      if ('closed' in message) this.#closed(message.closed);
      else this.#connections.get(message.noted)?.onNoted();
    });
    this.#thread.on('exit', () => {
      gates.delete(this.#gate);
      this.failed = true;
      for (const id of this.#connections.keys()) this.#closed(id);
    });
  }

  /** Connections. */
  get load(): number {
    return this.#connections.size;
  }

  /** @param onNoted called when a ring has something in it */
  serve(message: Extract<ToWorker, { type: 'serve' }>, onNoted: () => void): Served {
    const { id } = message.connection;
    const closed = new Promise<void>((onClosed) => this.#connections.set(id, { onClosed, onNoted }));
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
    closeGate(this.#gate, longestCall);
    await this.#thread.terminate();
  }

  #closed(id: number): void {
    this.#connections.get(id)?.onClosed();
    this.#connections.delete(id);
  }

  #tell(message: ToWorker): void {
    this.#thread.postMessage(message);
  }
}
