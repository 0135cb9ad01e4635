import { bit } from '../../binary/bits.js';
import { viewOf } from '../../binary/layout.js';
import { hex } from '../../error/message.js';
import type { ReplyStyle } from '../export.js';
import { InputBuffer } from '../input-buffer.js';
import {
  blockStatus,
  blockStatusExt,
  command,
  descriptor,
  descriptorExt,
  errorChunk,
  extendedReply,
  magic,
  offsetData,
  offsetHole,
  replyFlags,
  replyType,
  simpleReply,
  structuredReply,
} from '../on-wire.js';
import { broken } from './handshake.js';
import type { Pending } from './pending.js';

/** Bytes: no chunk without data is longer than the longest block status. */
const longestChunk = 1 << 20;

/** What the parser wants next: that many bytes, or data put where a request wants them. */
type Want = number | { readonly pending: Pending; readonly start: number; readonly length: number };

interface Chunk {
  readonly type: number;
  readonly last: boolean;
  readonly length: number;
}

/**
 * The client's side of the transmission phase: takes replies in chunks of any size and gives them to the requests that
 * wait for them. Checks each MUST of the server: a reply that nobody asked for, or data where none were wanted, is the
 * end of the connection.
 *
 * @see NBD proto.md, "Simple reply message" to "Structured reply types"
 */
export class ReplyParser {
  readonly #input = new InputBuffer();
  readonly #steps: Generator<Want, never, Buffer>;
  #want: Want;
  /** Bytes of the wanted data that have come. */
  #moved = 0;

  /** @param server for errors */
  constructor(
    private readonly style: ReplyStyle,
    private readonly allocationId: number | undefined,
    private readonly waiting: Map<bigint, Pending>,
    private readonly server: string,
  ) {
    this.#steps = this.#replies();
    this.#want = this.#steps.next().value;
  }

  /** @throws {DiskError} PROTOCOL: nothing that comes after can be understood */
  receive(bytes: Buffer): void {
    this.#input.push(bytes);
    for (;;) {
      const taken = typeof this.#want === 'number' ? this.#input.take(this.#want) : this.#moveData(this.#want);
      if (taken === undefined) return;
      this.#want = this.#steps.next(taken).value;
    }
  }

  #moveData({ pending, start, length }: Exclude<Want, number>): Buffer | undefined {
    const target = pending.target(start + this.#moved, length - this.#moved);
    this.#moved +=
      target === undefined
        ? this.#input.skip(length - this.#moved)
        : this.#input.moveTo(Buffer.from(target.buffer, target.byteOffset, target.length));
    if (this.#moved < length) return undefined;
    this.#moved = 0;
    return nothing;
  }

  *#replies(): Generator<Want, never, Buffer> {
    const simpleSize = simpleReply.size;
    for (;;) {
      if (this.style === 'extended') {
        const header = extendedReply.at(viewOf(yield extendedReply.size));
        if (header.magic !== magic.extendedReply) throw this.#broken(`begins a reply with ${hex(header.magic)}`);
        const { type, flags, cookie, length } = header;
        const pending = this.#pendingOf(cookie);
        if (length > BigInt(Number.MAX_SAFE_INTEGER)) throw this.#broken(`sends a chunk of ${length} bytes`);
        yield* this.#chunk(pending, { type, last: replyFlags.has(flags, 'DONE'), length: Number(length) }, cookie);
        continue;
      }
      const head = yield simpleSize;
      const start = simpleReply.at(viewOf(head));
      const isSimple = start.magic === magic.simpleReply;
      const { cookie, error } = start;
      if (isSimple) yield* this.#simple(this.#pendingOf(cookie), error, cookie);
      else if (this.style === 'structured' && start.magic === magic.structuredReply) {
        const header = structuredReply.at(viewOf(Buffer.concat([head, yield structuredReply.size - simpleSize])));
        const { type, flags, length } = header;
        const last = replyFlags.has(flags, 'DONE');
        yield* this.#chunk(this.#pendingOf(cookie), { type, last, length }, cookie);
      } else throw this.#broken(`begins a reply with ${hex(start.magic)}`);
    }
  }

  *#simple(pending: Pending, error: number, cookie: bigint): Generator<Want, void, Buffer> {
    if (error !== 0) pending.addError(error);
    else if (pending.type === command.READ) {
      if (this.style !== 'simple') throw this.#broken('answers a read with a simple reply');
      pending.addChunk(pending.offset, pending.length);
      yield { pending, start: 0, length: Number(pending.length) };
    } else if (pending.type === command.BLOCK_STATUS) throw this.#broken('answers a block status with a simple reply');
    this.#finish(pending, cookie);
  }

  *#chunk(pending: Pending, chunk: Chunk, cookie: bigint): Generator<Want, void, Buffer> {
    const { type, length, last } = chunk;
    if (type === replyType.OFFSET_DATA) {
      if (length <= offsetData.size) throw this.#broken('sends a chunk without data');
      const { offset } = offsetData.at(viewOf(yield offsetData.size));
      const size = length - offsetData.size;
      if (!pending.addChunk(offset, BigInt(size))) throw this.#broken('sends data that nobody asked for');
      yield { pending, start: Number(offset - pending.offset), length: size };
    } else {
      if (length > longestChunk) throw this.#broken(`sends a chunk of ${length} bytes`);
      this.#withoutData(pending, chunk, length === 0 ? nothing : yield length);
    }
    if (last) this.#finish(pending, cookie);
  }

  #withoutData(pending: Pending, { type, last, length }: Chunk, payload: Buffer): void {
    const view = viewOf(payload);
    switch (type) {
      case replyType.NONE:
        if (length > 0 || !last) throw this.#broken('sends a chunk of nothing that is not the last, or not empty');
        return;
      case replyType.OFFSET_HOLE: {
        if (length !== offsetHole.size) throw this.#broken(`sends a hole of ${length} bytes`);
        const { offset, hole_size: size } = offsetHole.at(view);
        if (!pending.addChunk(offset, BigInt(size))) throw this.#broken('sends a hole that nobody asked for');
        pending.target(Number(offset - pending.offset), size)?.fill(0);
        return;
      }
      case replyType.BLOCK_STATUS:
        if (this.style === 'extended') throw this.#broken('sends a short block status after extended headers');
        this.#status(pending, payload, blockStatus.size, descriptor.size);
        return;
      case replyType.BLOCK_STATUS_EXT:
        if (this.style !== 'extended') throw this.#broken('sends an extended block status');
        this.#status(pending, payload, blockStatusExt.size, descriptorExt.size);
        return;
      default:
        if ((type & bit(15)) === 0) throw this.#broken(`sends a chunk of type ${type}`);
        if (length < errorChunk.size) throw this.#broken(`sends an error of ${length} bytes`);
        pending.addError(errorChunk.at(view).error);
    }
  }

  #status(pending: Pending, payload: Buffer, head: number, each: number): void {
    const view = viewOf(payload);
    const whole = (payload.length - head) / each;
    if (pending.type !== command.BLOCK_STATUS || whole < 1 || !Number.isInteger(whole)) {
      throw this.#broken(`sends a block status of ${payload.length} bytes`);
    }
    const { context_id: id } = blockStatus.at(view);
    if (id !== this.allocationId || pending.extents.length > 0) throw this.#broken(`sends the status of context ${id}`);
    if (each === descriptorExt.size && blockStatusExt.at(view).count !== whole) {
      throw this.#broken('counts its descriptors wrongly');
    }
    for (let at = head; at < payload.length; at += each) {
      const { length, status } = each === descriptor.size ? descriptor.at(view, at) : descriptorExt.at(view, at);
      if (BigInt(length) === 0n) throw this.#broken('sends an empty descriptor');
      pending.addExtent({ length: BigInt(length), status: Number(BigInt(status) & 3n) });
    }
  }

  #pendingOf(cookie: bigint): Pending {
    const pending = this.waiting.get(cookie);
    if (pending === undefined) throw this.#broken(`answers request ${cookie}, which was not made`);
    return pending;
  }

  #finish(pending: Pending, cookie: bigint): void {
    this.waiting.delete(cookie);
    const fault = pending.finish();
    if (fault === undefined) return;
    const error = this.#broken(fault);
    pending.abandon(error);
    throw error;
  }

  #broken(how: string) {
    return broken(this.server, how);
  }
}

const nothing = Buffer.alloc(0);
