import { availableParallelism } from 'node:os';
import { describePlain } from '../../device/plain-device.js';
import { compiledFile } from '../../host/compiled.js';
import { NativeThread } from '../../host/native-thread.js';
import { duplicate } from '../../host/socket.js';
import type { Served } from '../connection.js';
import type { Negotiated } from '../handshake.js';
import type { FromWorker, ToWorker } from './messages.js';

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

class ServingThread {
  readonly #thread = new NativeThread(compiledFile(import.meta.url, 'worker.js'), undefined, { name: 'nbd' });
  readonly #connections = new Map<number, { readonly onClosed: () => void; readonly onNoted: () => void }>();
  failed = false;

  constructor() {
    this.#thread.worker.on('message', (message: FromWorker) => {
      if ('closed' in message) this.#closed(message.closed);
      else this.#connections.get(message.noted)?.onNoted();
    });
    void this.#thread.ended.then(() => {
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

  end(): Promise<void> {
    return this.#thread.end();
  }

  #closed(id: number): void {
    this.#connections.get(id)?.onClosed();
    this.#connections.delete(id);
  }

  #tell(message: ToWorker): void {
    this.#thread.worker.postMessage(message);
  }
}
