import type { Socket } from 'node:net';
import { readNow } from '../host/positioned.js';
import { sendFile, sendNow, socketFd } from '../host/socket.js';
import { type BufferPool, type FilePart, joined, type Lease } from './buffer-pool.js';
import type { Export } from './export.js';
import type { Negotiated } from './handshake.js';
import { Session } from './session.js';
import type { TlsOffer } from './tls/credentials.js';

/** Bytes that a slow client is given at a time of a reply that lies in a file. */
const slowPiece = 128 << 10;
/** Milliseconds: a client that takes such a piece within them is no longer slow. */
const quick = 2;

/** Bytes that TLS is given before it has sent them: it holds them a second time, encrypted. */
const securePiece = 1 << 20;

/** Milliseconds that a client in the handshake has to ask something, and to be told that the server ends. */
const farewell = 200;

const nothing = Buffer.alloc(0);

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
  /** Milliseconds that the thread may be held up for one large reply; 0 unless it has nothing else to do. */
  readonly patience?: number | undefined;
  /**
   * Offers somebody else the connection after the handshake.
   *
   * @param fd of the socket, to be duplicated
   * @param rest takes what has arrived after the handshake
   * @returns undefined when it stays here
   */
  readonly move?: ((fd: number, agreed: Negotiated, rest: () => Buffer) => Served | undefined) | undefined;
  /** What clients are offered, or have to take. */
  readonly tls?: TlsOffer | undefined;
}

/** Carries a session over a socket of any kind. Never throws, whatever the client does. */
export class Connection implements Served {
  readonly #session: Session;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #tls: TlsOffer | undefined;
  readonly #patience: number;
  #queue: Lease[] = [];
  #scheduled = false;
  #ending = false;
  #slow = false;
  #moved: Served | undefined;
  /** What the session's bytes come and go by: the connection's own socket, or TLS over it. */
  #carrier: Socket;
  readonly closed: Promise<void>;

  /** @param start what is served, or what was agreed on already */
  constructor(
    private readonly socket: Socket,
    start: readonly Export[] | Negotiated,
    private readonly pool: BufferPool,
    { handshake, patience = 0, move, tls }: ConnectionOptions = {},
  ) {
    this.#carrier = socket;
    this.#tls = tls;
    this.#patience = patience;
    const socketClosed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    this.closed = socketClosed.then(() => this.#moved?.closed);
    if (handshake !== undefined) this.#timer = setTimeout(() => socket.destroy(), handshake).unref();
    this.#session = new Session(
      start,
      {
        takesFiles: () => socketFd(this.#carrier) !== undefined,
        send: (lease) => this.#send(lease),
        end: () => {
          this.#ending = true;
          this.#schedule();
        },
        startTls: () => {
          // What arrives from here on is for TLS, which takes over once the consent to it has left.
          socket.off('data', this.#onData).pause();
          this.#send({ bytes: nothing, release: () => process.nextTick(() => this.#secure()) });
        },
        negotiated: (agreed, rest) => {
          clearTimeout(this.#timer);
          return move !== undefined && this.#handOver((fd) => move(fd, agreed, rest));
        },
        drained: () => this.#carrier.resume(),
      },
      pool,
      tls?.mode,
    );
    this.#listen(socket);
    socket.on('close', () => {
      clearTimeout(this.#timer);
      this.#session.abort();
      this.#drop();
    });
  }

  /** Whether the client has still to come to the transmission phase. */
  get negotiating(): boolean {
    return this.#moved === undefined && !this.#session.transmitting;
  }

  /** Hangs up at once. */
  drop(): void {
    this.socket.destroy();
  }

  /** Takes what has arrived from the client; the chunk is the caller's again when it returns. */
  receive(chunk: Buffer): void {
    // What is answered at once leaves at once, all of it together.
    const scheduled = this.#scheduled;
    this.#scheduled = true;
    this.#session.receive(chunk);
    this.#scheduled = scheduled;
    if (!scheduled && (this.#queue.length > 0 || this.#ending)) this.#flush();
    if (this.#session.full) this.#carrier.pause();
  }

  /** The client asks faster than it takes replies: it is not listened to. */
  get full(): boolean {
    return this.#session.full;
  }

  readonly #onData = (chunk: Buffer) => this.receive(chunk);

  #listen(carrier: Socket): void {
    carrier.on('data', this.#onData);
    carrier.on('end', () => this.#session.finish());
    // The close that follows does the work; a client that went away is no news. TLS reports a forged record, and stays.
    carrier.on('error', () => this.socket.destroy());
  }

  #secure(): void {
    if (this.socket.destroyed || this.#ending) return;
    this.#tls?.credentials.accept(this.socket, (secure) => {
      this.#carrier = secure;
      this.#listen(secure);
    });
  }

  async finish(grace: number): Promise<void> {
    if (this.#moved !== undefined) return this.#moved.finish(grace);
    const timer = setTimeout(() => this.socket.destroy(), this.negotiating ? Math.min(grace, farewell) : grace);
    this.#session.shutDown();
    await this.closed;
    clearTimeout(timer);
  }

  /** Has the connection served elsewhere, unless a part of what was said has still to leave from here. */
  #handOver(move: (fd: number) => Served | undefined): boolean {
    const socket = this.#carrier;
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
    const socket = this.#carrier;
    if (socket.destroyed) {
      this.#drop();
      return;
    }
    const queue = this.#queue;
    socket.cork();
    let start = 0;
    while (start < queue.length) {
      let bytes = queue[start]?.bytes ?? nothing;
      let file = queue[start]?.file;
      let end = start + 1;
      for (let next = queue[end]; file === undefined && next !== undefined; next = queue[end]) {
        const both = joined(bytes, next.bytes);
        if (both === undefined) break;
        bytes = both;
        file = next.file;
        end++;
      }
      // What comes from a file waits there, and not in memory, until the client has taken what was sent before.
      if (file !== undefined && socket.writableLength > 0) break;
      if (socket.writableLength >= this.#mostWritten) break;
      const leases = queue.slice(start, end);
      start = end;
      const release = () => {
        for (const lease of leases) lease.release();
      };
      const rest = file === undefined ? this.#write(bytes, release) : this.#writeFile(bytes, file, release);
      if (rest === undefined) continue;
      queue[--start] = rest;
      break;
    }
    queue.splice(0, start);
    socket.uncork();
    if (this.#ending && queue.length === 0) socket.destroySoon();
  }

  /** Bytes that the stream may hold. */
  get #mostWritten(): number {
    return this.#carrier === this.socket ? Number.POSITIVE_INFINITY : securePiece;
  }

  /**
   * Sends at once what the client takes at once, and leaves the rest to the stream.
   *
   * @returns what is more than the stream may hold: to be sent first when it has sent that
   */
  #write(bytes: Buffer, release: () => void): Lease | undefined {
    const socket = this.#carrier;
    const fd = socket.writableLength === 0 ? socketFd(socket) : undefined;
    const sent = fd === undefined ? 0 : sendNow(fd, bytes);
    if (sent === bytes.length) {
      release();
      return undefined;
    }
    const end = Math.min(bytes.length, sent + this.#mostWritten);
    const whole = end === bytes.length;
    socket.write(bytes.subarray(sent, end), () => {
      if (whole) release();
      this.#schedule();
    });
    return whole ? undefined : { bytes: bytes.subarray(end), release };
  }

  /**
   * Sends a part of a file after `head`, on a socket that has nothing else to send. A client that is too slow to wait for
   * is given pieces through the stream, until it takes one quickly.
   *
   * @returns what could not be sent yet: to be sent first when the stream is idle again
   */
  #writeFile(head: Buffer, file: FilePart, release: () => void): Lease | undefined {
    const socket = this.#carrier;
    const { fd, offset, length } = file;
    const to = socketFd(socket);
    const sent = this.#slow || to === undefined ? 0 : sendFile(to, head, fd, offset, length, this.#patience);
    if (sent === head.length + length) {
      release();
      return undefined;
    }
    this.#slow = true;
    const since = performance.now();
    if (sent < head.length) socket.write(head.subarray(sent));
    const sentOfFile = Math.max(0, sent - head.length);
    const copy = this.pool.take(Math.min(length - sentOfFile, slowPiece));
    const start = offset + BigInt(sentOfFile);
    // It was in memory when its reply was begun: this hardly ever waits.
    if (readNow(fd, copy.bytes, start, true) < copy.bytes.length) {
      // The file was cut short after its bytes were promised: there is no way to say so but to hang up.
      socket.destroy();
    }
    const left = length - sentOfFile - copy.bytes.length;
    socket.write(copy.bytes, () => {
      this.#slow = performance.now() - since > quick;
      copy.release();
      if (left === 0) release();
      this.#schedule();
    });
    return left === 0
      ? undefined
      : { bytes: nothing, file: { fd, offset: start + BigInt(copy.bytes.length), length: left }, release };
  }

  #drop(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const lease of queue) lease.release();
  }
}
