import { toNumber } from '../binary/convert.js';
import type { BufferPool, Lease } from './buffer-pool.js';
import { maximumPayload } from './export.js';
import type { Negotiated } from './handshake.js';
import type { InputBuffer } from './input-buffer.js';
import { command, descriptorExt } from './on-wire.js';
import { mostDescriptors, Performer } from './perform.js';
import { Replies } from './replies.js';
import { judge, parseRequest, type Refusal, type Request, requestSize } from './request.js';

/** Bytes that one connection may hold in payloads and replies, beside one request that is larger than all of it. */
const budget = maximumPayload + (1 << 20);
/** Bytes that each request counts for at least, so that there are never too many of them. */
const smallestCost = 4096;

const nothing = Buffer.alloc(0);
const shuttingDown: Refusal = { error: 'ESHUTDOWN', message: 'the server is about to end' };

/** A request whose payload is still arriving. */
interface Arriving {
  readonly request: Request;
  readonly refusal: Refusal | undefined;
  readonly cost: number;
  readonly size: number;
  filled: number;
  readonly lease: Lease | undefined;
}

export interface TransmissionOutput {
  /** Whether a reply may have a part of a file. */
  readonly takesFiles: boolean;
  send(reply: Lease): void;
  /** Something has changed: requests may go on, or the end may have come. */
  changed(): void;
}

/**
 * The server's side of the transmission phase: takes requests from the input, carries them out at the same time, and
 * sends each reply when it is ready. What a client asks and does not fetch is bounded: past that, requests wait.
 *
 * @see NBD proto.md, "Transmission"
 */
export class Transmission {
  #judge: (request: Request) => Refusal | undefined;
  readonly #performer: Performer;
  readonly #replies: Replies;
  readonly #headerSize: number;
  readonly #extended: boolean;
  #arriving: Arriving | undefined;
  #waiting: Request | undefined;
  #held = 0;
  #running = 0;
  #over = false;
  #deaf = false;

  constructor(
    negotiated: Negotiated,
    private readonly pool: BufferPool,
    private readonly output: TransmissionOutput,
  ) {
    this.#judge = judge(negotiated);
    this.#replies = new Replies(negotiated.style, pool);
    const { device, requests } = negotiated.export;
    this.#performer = new Performer(device, this.#replies, pool, output.takesFiles, requests);
    this.#headerSize = requestSize(negotiated.style);
    this.#extended = negotiated.style === 'extended';
  }

  /** A request waits until replies have left: read no more from the client. */
  get full(): boolean {
    return this.#waiting !== undefined;
  }

  /** No request will be taken any more: the client said goodbye, or nobody knows where the next request begins. */
  get over(): boolean {
    return this.#over;
  }

  /** Requests without a reply yet. */
  get running(): number {
    return this.#running;
  }

  /** The client is gone: replies go nowhere. */
  abort(): void {
    this.#over = true;
    this.#deaf = true;
    this.#arriving?.lease?.release();
    this.#arriving = undefined;
    this.#waiting = undefined;
  }

  /** The server is about to end: requests that have not begun are answered so, and their payloads read past. */
  refuse(): void {
    this.#judge = () => shuttingDown;
    if (this.#arriving === undefined) return;
    this.#arriving.lease?.release();
    this.#arriving = { ...this.#arriving, refusal: shuttingDown, lease: undefined };
  }

  /** Takes as many requests from the input as are whole, and as there is room for. */
  advance(input: InputBuffer): void {
    while (!this.#over) {
      if (this.#arriving !== undefined) {
        if (!this.#receive(this.#arriving, input)) return;
        continue;
      }
      const request = this.#waiting ?? this.#next(input);
      if (request === undefined) return;
      const cost = costOf(request);
      if (this.#held > 0 && this.#held + cost > budget) {
        this.#waiting = request;
        return;
      }
      this.#waiting = undefined;
      this.#accept(request, cost);
    }
  }

  #next(input: InputBuffer): Request | undefined {
    const header = input.take(this.#headerSize);
    if (header === undefined) return undefined;
    const request = parseRequest(header, this.#extended ? 'extended' : 'simple');
    // With extended headers a payload past the limit is an attack by the specification's own words.
    const unbounded = this.#extended && request !== undefined && request.payload > maximumPayload;
    if (request === undefined || request.type === command.DISC || unbounded) {
      this.#over = true;
      return undefined;
    }
    return request;
  }

  #accept(request: Request, cost: number): void {
    this.#held += cost;
    const refusal = this.#judge(request);
    if (request.payload === 0n) {
      this.#start(request, refusal, cost, nothing, undefined);
      return;
    }
    const size = toNumber(request.payload);
    const lease = refusal === undefined ? this.pool.take(size) : undefined;
    this.#arriving = { request, refusal, cost, size, filled: 0, lease };
  }

  /** True when the payload is whole. */
  #receive(arriving: Arriving, input: InputBuffer): boolean {
    const { request, refusal, cost, size, lease } = arriving;
    // It arrives in memory that will hold what arrives next.
    arriving.filled +=
      lease === undefined ? input.skip(size - arriving.filled) : input.moveTo(lease.bytes.subarray(arriving.filled));
    if (arriving.filled < size) return false;
    this.#arriving = undefined;
    this.#start(request, refusal, cost, lease?.bytes ?? nothing, lease);
    return true;
  }

  #start(
    request: Request,
    refusal: Refusal | undefined,
    cost: number,
    payload: Buffer,
    lease: Lease | undefined,
  ): void {
    if (refusal !== undefined) {
      this.#reply(this.#replies.error(request, refusal.error, refusal.message), cost);
      return;
    }
    const reply = this.#performer.perform(request, payload);
    if (!(reply instanceof Promise)) {
      lease?.release();
      this.#reply(reply, cost);
      return;
    }
    this.#running++;
    void reply.then((later) => {
      lease?.release();
      this.#running--;
      this.#reply(later, cost);
      if (this.#running === 0) this.output.changed();
    });
  }

  #reply(reply: Lease, cost: number): void {
    const release = () => {
      reply.release();
      this.#held -= cost;
      if (this.#waiting !== undefined) this.output.changed();
    };
    if (this.#deaf) release();
    else this.output.send({ bytes: reply.bytes, file: reply.file, release });
  }
}

/** Bytes of memory that a request takes at most until its reply has left. */
function costOf({ type, length, payload }: Request): number {
  if (payload > 0n) return Math.max(smallestCost, payload > maximumPayload ? 0 : toNumber(payload));
  if (type === command.READ && length <= maximumPayload) return Math.max(smallestCost, toNumber(length));
  return type === command.BLOCK_STATUS ? mostDescriptors * descriptorExt.size : smallestCost;
}
