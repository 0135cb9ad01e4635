import type { BufferPool, Lease } from './buffer-pool.js';
import type { Export } from './export.js';
import { type Handshake, handshake, type Negotiated, type TlsMode } from './handshake.js';
import { InputBuffer } from './input-buffer.js';
import { Transmission } from './transmission.js';

/** Where a session's bytes go. */
export interface SessionOutput {
  /** Takes bytes to send, in order; releases them once they have left, or never will. */
  send(lease: Lease): void;
  /** Whether a lease of the transmission phase may have a part of a file. */
  takesFiles?(): boolean;
  /** All has been sent: hang up. Called once, last. */
  end(): void;
  /**
   * All that was sent before goes in the clear, all after it under TLS, and `receive` takes what TLS brings. Needed
   * unless TLS is off.
   */
  startTls?(): void;
  /**
   * The handshake is over.
   *
   * @param rest takes what has arrived after it
   * @returns true when somebody else goes on with the connection: this session is over, without an `end`
   */
  negotiated?(agreed: Negotiated, rest: () => Buffer): boolean;
  /** `full` has become false. */
  drained?(): void;
}

/**
 * The server's side of one connection, knowing no socket: bytes in, bytes out. The handshake comes first, then
 * transmission.
 */
export class Session {
  readonly #input = new InputBuffer();
  readonly #handshake: Handshake | undefined;
  /** Bytes that the handshake wants next. */
  #needed = 0;
  #transmission: Transmission | undefined;
  #inputEnded = false;
  #shuttingDown = false;
  #over = false;
  #wasFull = false;

  /** @param start what is served, or what was agreed on already: then the session begins with transmission */
  constructor(
    start: readonly Export[] | Negotiated,
    private readonly output: SessionOutput,
    private readonly pool: BufferPool,
    tls: TlsMode = 'off',
  ) {
    if ('style' in start) {
      this.#transmission = this.#transmit(start);
      return;
    }
    const send = (bytes: Buffer) => {
      // Nobody listens any more once the session is over.
      if (!this.#over) output.send({ bytes, release: () => {} });
    };
    const ending = () => this.#shuttingDown;
    this.#handshake = handshake(start, send, { mode: tls, start: () => this.#startTls() }, ending);
    const first = this.#handshake.next();
    this.#needed = first.done === true ? 0 : first.value;
  }

  /** The client asks faster than it takes replies: read nothing from it until `drained`. */
  get full(): boolean {
    return this.#transmission?.full ?? false;
  }

  /** Whether the client has come as far as the transmission phase. */
  get transmitting(): boolean {
    return this.#transmission !== undefined;
  }

  /** Takes what has arrived, in chunks of any size. The chunk is the caller's again when it returns. */
  receive(chunk: Buffer): void {
    if (this.#over || this.#inputEnded) return;
    this.#input.push(chunk);
    this.#advance();
    this.#input.keep();
  }

  /** Nothing more will arrive, or be listened to: what is whole is carried out and answered, then the session ends. */
  finish(): void {
    if (this.#over) return;
    this.#inputEnded = true;
    this.#advance();
  }

  /**
   * The server is about to end. What is whole is carried out and answered, what comes meanwhile refused; then the session
   * ends. In the handshake it is for the client to leave, once it has been told.
   */
  shutDown(): void {
    this.#shuttingDown = true;
    this.#advance();
  }

  /** The client is gone: sends nothing more. Requests that run come to their end. */
  abort(): void {
    this.#over = true;
    this.#input.clear();
    this.#transmission?.abort();
  }

  #advance(): void {
    if (this.#over) return;
    if (this.#transmission === undefined) this.#negotiate();
    this.#transmission?.advance(this.#input);
    if (this.#over) return;
    // What waits for room was whole before.
    if (this.#shuttingDown && !this.full) this.#transmission?.refuse();
    this.#endWhenDone();
    const drained = this.#wasFull && !this.full;
    this.#wasFull = this.full;
    if (drained) this.output.drained?.();
  }

  #startTls(): boolean {
    if (this.#input.length > 0 || this.#inputEnded || this.output.startTls === undefined) return false;
    this.output.startTls();
    return true;
  }

  #negotiate(): void {
    while (this.#handshake !== undefined && this.#transmission === undefined) {
      const bytes = this.#input.take(this.#needed);
      if (bytes === undefined) return;
      const step = this.#handshake.next(bytes);
      if (step.done !== true) this.#needed = step.value;
      else if (step.value === undefined) {
        this.#end();
        return;
      } else {
        const rest = () => this.#input.take(this.#input.length) ?? Buffer.alloc(0);
        if (this.output.negotiated?.(step.value, rest) === true) {
          this.#over = true;
          return;
        }
        this.#transmission = this.#transmit(step.value);
      }
    }
  }

  #transmit(agreed: Negotiated): Transmission {
    const takesFiles = this.output.takesFiles?.() ?? false;
    const output = { takesFiles, send: (reply: Lease) => this.output.send(reply), changed: () => this.#advance() };
    return new Transmission(agreed, this.pool, output);
  }

  #endWhenDone(): void {
    const transmission = this.#transmission;
    if (transmission === undefined) {
      if (this.#inputEnded) this.#end();
      return;
    }
    const noMore = transmission.over || ((this.#inputEnded || this.#shuttingDown) && !transmission.full);
    if (noMore && transmission.running === 0) this.#end();
  }

  #end(): void {
    this.#over = true;
    this.#input.clear();
    // A payload that never became whole gives its memory back.
    this.#transmission?.abort();
    this.output.end();
  }
}
