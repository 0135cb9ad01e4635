import type { Socket } from 'node:net';
import { readNow } from '../host/positioned.js';
import { sendFile, sendNow, socketFd } from '../host/socket.js';
import { type BufferPool, type FilePart, joined, type Lease } from './buffer-pool.js';
import type { Export } from './export.js';
import type { Negotiated } from './handshake.js';
import { Session } from './session.js';

/** A client that is being served, wherever. */
export interface Served {
  /** Resolves when the connection is closed, and nothing of it runs any more. */
  readonly closed: Promise<void>;
  /** Answers what has been received, then hangs up; at the latest after `grace` milliseconds. */
  finish(grace: number): Promise<void>;
}

export interface ConnectionOptions {
  /** Milliseconds: a client that has not come to the transmission phase by then is dropped. */
  readonly handshake?: number | undefined;
  /** Whether data may go from a file to the socket directly, which can hold up the thread for some milliseconds. */
  readonly takesFiles?: boolean | undefined;
  /**
   * Offers somebody else the connection after the handshake.
   *
   * @param fd of the socket, to be duplicated
   * @param rest takes what has arrived after the handshake
   * @returns undefined when it stays here
   */
  readonly move?: ((fd: number, agreed: Negotiated, rest: () => Buffer) => Served | undefined) | undefined;
  /** Called when something has arrived. */
  readonly onActivity?: (() => void) | undefined;
}

/** Carries a session over a socket of any kind. Never throws, whatever the client does. */
export class Connection implements Served {
  readonly #session: Session;
  readonly #timer: NodeJS.Timeout | undefined;
  #queue: Lease[] = [];
  #scheduled = false;
  #ending = false;
  #moved: Served | undefined;
  readonly closed: Promise<void>;

  /** @param start what is served, or what was agreed on already */
  constructor(
    private readonly socket: Socket,
    start: readonly Export[] | Negotiated,
    private readonly pool: BufferPool,
    { handshake, takesFiles, move, onActivity }: ConnectionOptions = {},
  ) {
    const socketClosed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    this.closed = socketClosed.then(() => this.#moved?.closed);
    if (handshake !== undefined) this.#timer = setTimeout(() => socket.destroy(), handshake).unref();
    this.#session = new Session(
      start,
      {
        takesFiles,
        send: (lease) => this.#send(lease),
        end: () => {
          this.#ending = true;
          this.#schedule();
        },
        negotiated: (agreed, rest) => {
          clearTimeout(this.#timer);
          return move !== undefined && this.#handOver((fd) => move(fd, agreed, rest));
        },
        drained: () => socket.resume(),
      },
      pool,
    );
    socket.on('data', (chunk: Buffer) => {
      onActivity?.();
      this.receive(chunk);
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

  /** Takes what has arrived from the client. */
  receive(chunk: Buffer): void {
    this.#session.receive(chunk);
    if (this.#session.full) this.socket.pause();
  }

  async finish(grace: number): Promise<void> {
    if (this.#moved !== undefined) return this.#moved.finish(grace);
    const timer = setTimeout(() => this.socket.destroy(), grace);
    this.#session.finish();
    await this.closed;
    clearTimeout(timer);
  }

  /** Has the connection served elsewhere, unless a part of what was said has still to leave from here. */
  #handOver(move: (fd: number) => Served | undefined): boolean {
    const { socket } = this;
    this.#flush();
    const fd = socketFd(socket);
    if (fd === undefined || socket.writableLength > 0) return false;
    this.#moved = move(fd);
    if (this.#moved === undefined) return false;
    // Closes this descriptor alone: the connection lives on in its duplicate.
    socket.destroy();
    return true;
  }

  #send(lease: Lease): void {
    this.#queue.push(lease);
    this.#schedule();
  }

  /** All replies of one turn leave together: the next tick comes after every promise that is settled already. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
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
      let file = queue[start]?.file;
      let end = start + 1;
      for (let next = queue[end]; file === undefined && next !== undefined; next = queue[end]) {
        const both = joined(bytes, next.bytes);
        if (both === undefined) break;
        bytes = both;
        file = next.file;
        end++;
      }
      this.#write(bytes, file, queue.slice(start, end));
      start = end;
    }
    socket.uncork();
    if (this.#ending) socket.destroySoon();
  }

  /** Sends at once what the client takes at once, and leaves the rest to the stream. */
  #write(bytes: Buffer, file: FilePart | undefined, leases: readonly Lease[]): void {
    const { socket } = this;
    const release = () => {
      for (const lease of leases) lease.release();
    };
    const fd = socket.writableLength === 0 ? socketFd(socket) : undefined;
    const sent = fd === undefined ? 0 : sendNow(fd, bytes, file !== undefined);
    if (sent < bytes.length) socket.write(bytes.subarray(sent), file === undefined ? release : undefined);
    else if (file === undefined) release();
    if (file === undefined) return;
    const sentOfFile = fd === undefined || sent < bytes.length ? 0 : sendFile(fd, file.fd, file.offset, file.length);
    if (sentOfFile === file.length) release();
    else this.#writeCopy(file, sentOfFile, release);
  }

  #writeCopy({ fd, offset, length }: FilePart, sent: number, release: () => void): void {
    const copy = this.pool.take(length - sent);
    // It was in memory when its reply was begun: this hardly ever waits.
    if (readNow(fd, copy.bytes, offset + BigInt(sent), true) < copy.bytes.length) {
      // The file was cut short after its bytes were promised: there is no way to say so but to hang up.
      copy.release();
      release();
      this.socket.destroy();
      return;
    }
    this.socket.write(copy.bytes, () => {
      copy.release();
      release();
    });
  }

  #drop(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const lease of queue) lease.release();
  }
}
