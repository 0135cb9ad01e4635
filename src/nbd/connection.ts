import type { Socket } from 'node:net';
import { type BufferPool, joined, type Lease } from './buffer-pool.js';
import type { Export } from './export.js';
import { Session } from './session.js';

/** Milliseconds. */
export interface ConnectionLimits {
  /** A client that has not come to the transmission phase by then is dropped. */
  readonly handshake: number;
}

/** Carries a session over a socket of any kind. Never throws, whatever the client does. */
export class Connection {
  readonly #session: Session;
  #queue: Lease[] = [];
  #scheduled = false;
  #ending = false;
  readonly #timer: NodeJS.Timeout;
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;

  constructor(
    private readonly socket: Socket,
    exports: readonly Export[],
    pool: BufferPool,
    limits: ConnectionLimits,
  ) {
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    this.#timer = setTimeout(() => socket.destroy(), limits.handshake);
    this.#timer.unref();
    this.#session = new Session(
      exports,
      {
        send: (lease) => this.#send(lease),
        end: () => {
          this.#ending = true;
          this.#schedule();
        },
        negotiated: () => clearTimeout(this.#timer),
        drained: () => socket.resume(),
      },
      pool,
    );
    socket.on('data', (chunk: Buffer) => {
      this.#session.receive(chunk);
      if (this.#session.full) socket.pause();
    });
    socket.on('end', () => this.#session.finish());
    // An error is always followed by a close, which does the work; a client that went away is no news.
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(this.#timer);
      this.#session.abort();
      this.#drop();
    });
  }

  /** Answers what has been received, then hangs up; at the latest after `grace` milliseconds. */
  async finish(grace: number): Promise<void> {
    const timer = setTimeout(() => this.socket.destroy(), grace);
    this.#session.finish();
    await this.closed;
    clearTimeout(timer);
  }

  #send(lease: Lease): void {
    this.#queue.push(lease);
    this.#schedule();
  }

  /** All replies of one turn leave together: the next tick comes after every promise that is settled already. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const { socket } = this;
    if (socket.destroyed) {
      this.#drop();
      return;
    }
    const queue = this.#queue;
    this.#queue = [];
    socket.cork();
    for (let start = 0; start < queue.length; ) {
      let bytes = queue[start]?.bytes ?? Buffer.alloc(0);
      let end = start + 1;
      for (let next = queue[end]; next !== undefined; next = queue[end]) {
        const both = joined(bytes, next.bytes);
        if (both === undefined) break;
        bytes = both;
        end++;
      }
      const sent = queue.slice(start, end);
      socket.write(bytes, () => {
        for (const lease of sent) lease.release();
      });
      start = end;
    }
    socket.uncork();
    if (this.#ending) socket.destroySoon();
  }

  #drop(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const lease of queue) lease.release();
  }
}
