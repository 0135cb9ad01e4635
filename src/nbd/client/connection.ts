import type { Socket } from 'node:net';
import { viewOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import { command, commandFlags, compactRequest, extendedRequest, magic } from '../on-wire.js';
import { type AgreeOptions, agree, dial, type Line } from './dial.js';
import type { Agreed } from './handshake.js';
import type { NbdTarget } from './parse-uri.js';
import { Pending, type StatusExtent } from './pending.js';
import { ReplyParser } from './replies.js';

/** Milliseconds that a server has to hang up after goodbye. */
const grace = 1000;

export interface Ask {
  readonly type: number;
  /** Command flags. */
  readonly flags?: number | undefined;
  readonly offset?: bigint | undefined;
  /** Bytes of the range. */
  readonly length?: bigint | undefined;
  /** Of a write: left alone until the reply is there. */
  readonly payload?: Uint8Array | undefined;
  /** Where a read's data go. */
  readonly into?: Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One connection to a server, past its handshake: many requests under way at a time. */
export class ClientConnection {
  readonly #waiting = new Map<bigint, Pending>();
  readonly #parser: ReplyParser;
  readonly #closed: Promise<void>;
  private readonly socket: Socket;
  readonly agreed: Agreed;
  #cookie = 0n;
  #failure: DiskError | undefined;

  private constructor(
    { socket, agreed }: Line,
    private readonly server: string,
  ) {
    this.socket = socket;
    this.agreed = agreed;
    const { style, allocationId } = agreed;
    this.#parser = new ReplyParser(style, allocationId, this.#waiting, server);
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()));
    const gone = (cause?: unknown) =>
      this.#fail(new DiskError('IO', `${server}: the server has hung up`, { errno: 'ESHUTDOWN', cause }));
    socket.on('error', gone);
    socket.on('close', () => gone());
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.resume();
  }

  /**
   * Connects and agrees on an export.
   *
   * @param server the URI, for errors
   * @throws {DiskError} as {@link dial}
   */
  static async open(target: NbdTarget, server: string, signal: AbortSignal | undefined): Promise<ClientConnection> {
    return new ClientConnection(await dial(target, server, signal), server);
  }

  /**
   * Agrees on an export over a socket that is connected already.
   *
   * @throws {DiskError} as {@link agree}
   */
  static async over(socket: Socket, options: AgreeOptions): Promise<ClientConnection> {
    return new ClientConnection(await agree(socket, options), options.server);
  }

  /** Requests without a reply yet. */
  get load(): number {
    return this.#waiting.size;
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /**
   * Sends a request and waits for its reply.
   *
   * @param what for errors: `read of 512 bytes at byte 0x0 of nbd://localhost`
   * @throws {DiskError} what the server answers; IO when it is gone; PROTOCOL; CANCELLED: then `into` is left alone
   */
  async ask(
    what: string,
    { type, flags = 0, offset = 0n, length = 0n, ...rest }: Ask,
  ): Promise<readonly StatusExtent[]> {
    const { payload, into, signal } = rest;
    if (this.#failure !== undefined) throw this.#failure;
    const cookie = this.#cookie++;
    const pending = new Pending(type, offset, length, what, into);
    this.#waiting.set(cookie, pending);
    this.socket.cork();
    this.socket.write(this.#header(type, flags, cookie, offset, length, payload !== undefined));
    if (payload !== undefined && payload.length > 0) this.socket.write(payload);
    process.nextTick(() => this.socket.uncork());
    // A payload may still be on its way out of the caller's memory: a write is waited for.
    if (signal === undefined || payload !== undefined) return await pending.reply;
    const onAbort = () => pending.abandon(DiskError.cancelled(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await pending.reply;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Says goodbye, and hangs up if the server does not. */
  async close(): Promise<void> {
    if (this.#failure === undefined) {
      this.socket.end(this.#header(command.DISC, 0, this.#cookie++, 0n, 0n, false));
      this.#fail(new DiskError('IO', `${this.server}: closed`, { errno: 'EBADF' }), false);
    }
    const timer = setTimeout(() => this.socket.destroy(), grace);
    await this.#closed;
    clearTimeout(timer);
  }

  #header(type: number, flags: number, cookie: bigint, offset: bigint, length: bigint, hasPayload: boolean): Buffer {
    if (this.agreed.style === 'extended') {
      const header = Buffer.allocUnsafe(extendedRequest.size);
      const all = hasPayload ? flags | commandFlags.mask.PAYLOAD_LEN : flags;
      extendedRequest.put(viewOf(header), { magic: magic.extendedRequest, flags: all, type, cookie, offset, length });
      return header;
    }
    const header = Buffer.allocUnsafe(compactRequest.size);
    compactRequest.put(viewOf(header), { magic: magic.request, flags, type, cookie, offset, length: Number(length) });
    return header;
  }

  #receive(chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    try {
      this.#parser.receive(chunk);
    } catch (error) {
      this.#fail(error instanceof DiskError ? error : new DiskError('PROTOCOL', `${this.server}: ${error}`));
    }
  }

  /** Nothing will be answered any more. */
  #fail(error: DiskError, destroy = true): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const pending of this.#waiting.values()) pending.abandon(error);
    this.#waiting.clear();
    if (destroy) this.socket.destroy();
  }
}
