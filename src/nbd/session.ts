import type { BufferPool, Lease } from './buffer-pool.js';
import type { Export } from './export.js';
import { type Handshake, handshake } from './handshake.js';
import { InputBuffer } from './input-buffer.js';
import { Transmission } from './transmission.js';

/** Where a session's bytes go. */
export interface SessionOutput {
  /** Takes bytes to send, in order; releases them once they have left, or never will. */
  send(lease: Lease): void;
  /** All has been sent: hang up. Called once, last. */
  end(): void;
  /** The handshake is over. */
  negotiated?(): void;
  /** `full` has become false. */
  drained?(): void;
}

/**
 * The server's side of one connection, knowing no socket: bytes in, bytes out. The handshake comes first, then
 * transmission.
 */
export class Session {
  readonly #input = new InputBuffer();
  readonly #handshake: Handshake;
  /** Bytes that the handshake wants next. */
  #needed: number;
  #transmission: Transmission | undefined;
  #inputEnded = false;
  #over = false;
  #wasFull = false;

  constructor(
    exports: readonly Export[],
    private readonly output: SessionOutput,
    private readonly pool: BufferPool,
  ) {
    this.#handshake = handshake(exports, (bytes) => {
      // Nobody listens any more once the session is over.
      if (!this.#over) output.send({ bytes, release: () => {} });
    });
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

  /** Takes what has arrived, in chunks of any size. The session keeps the chunk. */
  receive(chunk: Buffer): void {
    if (this.#over || this.#inputEnded) return;
    this.#input.push(chunk);
    this.#advance();
  }

  /** Nothing more will arrive, or be listened to: what is whole is carried out and answered, then the session ends. */
  finish(): void {
    if (this.#over) return;
    this.#inputEnded = true;
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
    this.#endWhenDone();
    const drained = this.#wasFull && !this.full;
    this.#wasFull = this.full;
    if (drained) this.output.drained?.();
  }

  #negotiate(): void {
    while (this.#transmission === undefined) {
      const bytes = this.#input.take(this.#needed);
      if (bytes === undefined) return;
      const step = this.#handshake.next(bytes);
      if (step.done !== true) this.#needed = step.value;
      else if (step.value === undefined) {
        this.#end();
        return;
      } else {
        this.#transmission = new Transmission(step.value, this.pool, {
          send: (reply) => this.output.send(reply),
          changed: () => this.#advance(),
        });
        this.output.negotiated?.();
      }
    }
  }

  #endWhenDone(): void {
    const transmission = this.#transmission;
    if (transmission === undefined) {
      if (this.#inputEnded) this.#end();
      return;
    }
    const noMore = transmission.over || (this.#inputEnded && !transmission.full);
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
