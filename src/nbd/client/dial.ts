import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { DiskError } from '../../error/disk-error.js';
import { wrapSystemError } from '../../host/errno.js';
import { InputBuffer } from '../input-buffer.js';
import { secureBy } from '../tls/connect.js';
import { type Agreed, clientHandshake, startTls } from './handshake.js';
import type { NbdTarget } from './parse-uri.js';

/** Milliseconds for a server to answer, until the disk can be used. */
const usualPatience = 10_000;

/** A server that has agreed to serve us a disk. */
export interface Line {
  /** Paused; what the server has sent since is still in it. */
  readonly socket: Socket;
  readonly agreed: Agreed;
}

/**
 * Connects to a server and agrees on an export.
 *
 * @param server the URI, for errors
 * @throws {DiskError} as {@link clientHandshake}; IO when nobody answers, not in time, or not to be trusted; NOT_FOUND,
 * USAGE for the files of TLS; CANCELLED
 */
export async function dial(target: NbdTarget, server: string, signal: AbortSignal | undefined): Promise<Line> {
  if (signal?.aborted) throw DiskError.cancelled(signal);
  const { at, exportName, tls } = target;
  const secure = tls === undefined ? undefined : await secureBy(tls, at, server);
  return await agree(connect(at), { exportName, server, signal, secure });
}

export interface AgreeOptions {
  readonly exportName: string;
  /** For errors. */
  readonly server: string;
  readonly signal?: AbortSignal | undefined;
  /** Puts TLS around the socket; without it all is in the clear. */
  readonly secure?: ((plain: Socket) => Promise<Socket>) | undefined;
  /** Milliseconds for the server to answer. */
  readonly patience?: number | undefined;
}

/**
 * Agrees on an export over a socket that is connected, or about to be. The socket is closed when this rejects.
 *
 * @throws {DiskError} as {@link dial}
 */
export async function agree(plain: Socket, options: AgreeOptions): Promise<Line> {
  const { exportName, server, signal, secure, patience = usualPatience } = options;
  // Whoever waits for it is told; at other times there is nobody to tell.
  plain.on('error', () => {});
  let socket: Socket = plain;
  const stop = () => socket.destroy(DiskError.cancelled(signal));
  const timer = setTimeout(() => {
    socket.destroy(new DiskError('IO', `${server}: no answer within ${patience / 1000} s`, { errno: 'ETIMEDOUT' }));
  }, patience);
  signal?.addEventListener('abort', stop, { once: true });
  try {
    if (signal?.aborted) throw DiskError.cancelled(signal);
    plain.setNoDelay(true);
    if (plain.connecting) await connected(plain, server);
    let incoming = new Incoming(socket, server);
    const steps = clientHandshake(exportName, server, (bytes) => socket.write(bytes), secure !== undefined);
    let step = steps.next();
    while (step.done !== true) {
      if (step.value !== startTls) {
        step = steps.next(await incoming.take(step.value));
        continue;
      }
      // What somebody else slipped in would be taken for the server's words (proto.md, "Downgrade attack mitigation": what comes before TLS is not trusted).
      if (incoming.release().length > 0) {
        throw new DiskError('PROTOCOL', `${server}: goes on in the clear after STARTTLS`);
      }
      if (secure !== undefined) socket = await secure(plain);
      incoming = new Incoming(socket, server);
      step = steps.next();
    }
    socket.unshift(incoming.release());
    return { socket, agreed: step.value };
  } catch (error) {
    // What we gave up for says more than what that broke.
    const reason = [socket.errored, plain.errored].find((each) => each instanceof DiskError);
    socket.destroy();
    plain.destroy();
    throw reason ?? error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

async function connected(socket: Socket, server: string): Promise<void> {
  try {
    await once(socket, 'connect');
  } catch (error) {
    throw wrapSystemError(`connect to ${server}`, error);
  }
}

/** What arrives on a stream, taken in pieces of a known size. */
class Incoming {
  readonly #input = new InputBuffer();
  #wake = () => {};
  readonly #onData = (chunk: Buffer) => {
    this.#input.push(chunk);
    this.#wake();
  };
  readonly #onEnd = () => this.#wake();

  constructor(
    private readonly socket: Socket,
    private readonly server: string,
  ) {
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onEnd);
  }

  /** Exactly so many bytes, as soon as they are there. */
  async take(size: number): Promise<Buffer> {
    for (;;) {
      const bytes = this.#input.take(size);
      if (bytes !== undefined) return bytes;
      const { destroyed, readableEnded, errored } = this.socket;
      if (errored !== null) throw wrapSystemError(`read from ${this.server}`, errored);
      if (destroyed || readableEnded) {
        throw new DiskError('IO', `${this.server}: the server hung up during the handshake`, { errno: 'ECONNRESET' });
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Leaves the stream paused to the next who listens. Returns what nobody has taken. */
  release(): Buffer {
    this.socket.pause();
    this.socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onEnd);
    return this.#input.take(this.#input.length) ?? Buffer.alloc(0);
  }
}
