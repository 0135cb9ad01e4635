import { toNumber } from '../binary/convert.js';
import { viewOf } from '../binary/layout.js';
import type { Extent } from '../device/extent.js';
import type { BufferPool, FilePart, Lease } from './buffer-pool.js';
import type { ReplyStyle } from './export.js';
import { allocationContextId } from './handshake.js';
import {
  blockStatus,
  blockStatusExt,
  command,
  descriptor,
  descriptorExt,
  type ErrorName,
  errorChunk,
  errorValue,
  extendedReply,
  magic,
  offsetData,
  offsetHole,
  replyFlags,
  replyType,
  simpleReply,
  state,
  structuredReply,
} from './on-wire.js';
import type { Request } from './request.js';

/** A part of a read's reply that is to be filled with data. */
export interface ReadPart {
  /** Bytes from the start of the export. */
  readonly offset: bigint;
  readonly target: Buffer;
}

/**
 * Encodes replies in the style that was negotiated. Each reply is one piece of memory, whole when it is sent.
 *
 * @see NBD proto.md, "Simple reply message" to "Structured reply types"
 */
export class Replies {
  readonly #header: number;
  /** Bytes before the data of a read that is answered in one piece. */
  readonly dataRoom: number;

  constructor(
    readonly style: ReplyStyle,
    private readonly pool: BufferPool,
  ) {
    this.#header = { simple: simpleReply, structured: structuredReply, extended: extendedReply }[style].size;
    this.dataRoom = style === 'simple' ? this.#header : this.#header + offsetData.size;
  }

  /** Success, with nothing to tell. */
  done(request: Request): Lease {
    // A simple reply may answer all but READ, and is the shortest.
    if (this.style === 'structured' && request.type !== command.READ) {
      const lease = this.pool.take(simpleReply.size);
      this.#simple(lease, request, 0);
      return lease;
    }
    const lease = this.pool.take(this.#header);
    if (this.style === 'simple') this.#simple(lease, request, 0);
    else this.#chunk(viewOf(lease.bytes), 0, request, replyType.NONE, 0, true);
    return lease;
  }

  error(request: Request, error: ErrorName, message: string): Lease {
    const text = Buffer.from(message).subarray(0, 1024);
    const payload = errorChunk.size + text.length;
    const lease = this.pool.take(this.style === 'simple' ? this.#header : this.#header + payload);
    if (this.style === 'simple') {
      this.#simple(lease, request, errorValue[error]);
      return lease;
    }
    const view = viewOf(lease.bytes);
    this.#chunk(view, 0, request, replyType.ERROR, payload, true);
    errorChunk.put(view, { error: errorValue[error], message_length: text.length }, this.#header);
    text.copy(lease.bytes, this.#header + errorChunk.size);
    return lease;
  }

  /** Writes the header before the data of `lease`, which begin at `dataRoom`. */
  data(request: Request, lease: Lease): void {
    if (this.style === 'simple') {
      this.#simple(lease, request, 0);
      return;
    }
    const view = viewOf(lease.bytes);
    const payload = offsetData.size + toNumber(request.length);
    this.#chunk(view, 0, request, replyType.OFFSET_DATA, payload, true);
    offsetData.put(view, { offset: request.offset }, this.#header);
  }

  /** The reply to a read whose data come straight from a file. */
  dataFrom(request: Request, file: FilePart): Lease {
    const { bytes, release } = this.pool.take(this.dataRoom);
    const lease = { bytes, file, release };
    this.data(request, lease);
    return lease;
  }

  /** The reply to a read as a chunk for each extent, and what of it has still to be read. Never for simple replies. */
  pieces(request: Request, extents: readonly Extent[]): { lease: Lease; parts: ReadPart[] } {
    const holeSize = this.#header + offsetHole.size;
    const size = extents.reduce(
      (sum, { zero, length }) => sum + (zero ? holeSize : this.dataRoom + toNumber(length)),
      0,
    );
    const lease = this.pool.take(size);
    const view = viewOf(lease.bytes);
    const parts: ReadPart[] = [];
    let at = 0;
    for (const [index, { offset, length, zero }] of extents.entries()) {
      const last = index === extents.length - 1;
      if (zero) {
        this.#chunk(view, at, request, replyType.OFFSET_HOLE, offsetHole.size, last);
        offsetHole.put(view, { offset, hole_size: toNumber(length) }, at + this.#header);
        at += holeSize;
      } else {
        this.#chunk(view, at, request, replyType.OFFSET_DATA, offsetData.size + toNumber(length), last);
        offsetData.put(view, { offset }, at + this.#header);
        at += this.dataRoom;
        parts.push({ offset, target: lease.bytes.subarray(at, at + toNumber(length)) });
        at += toNumber(length);
      }
    }
    return { lease, parts };
  }

  /** The reply to a block status request, each extent of which fits the style's length field. */
  status(request: Request, extents: readonly Extent[]): Lease {
    const extended = this.style === 'extended';
    const each = extended ? descriptorExt : descriptor;
    const head = extended ? blockStatusExt : blockStatus;
    const payload = head.size + extents.length * each.size;
    const lease = this.pool.take(this.#header + payload);
    const view = viewOf(lease.bytes);
    const type = extended ? replyType.BLOCK_STATUS_EXT : replyType.BLOCK_STATUS;
    this.#chunk(view, 0, request, type, payload, true);
    if (extended) {
      blockStatusExt.put(view, { context_id: allocationContextId, count: extents.length }, this.#header);
    } else blockStatus.put(view, { context_id: allocationContextId }, this.#header);
    let at = this.#header + head.size;
    for (const extent of extents) {
      const status = statusOf(extent);
      if (extended) descriptorExt.put(view, { length: extent.length, status: BigInt(status) }, at);
      else descriptor.put(view, { length: toNumber(extent.length), status }, at);
      at += each.size;
    }
    return lease;
  }

  #simple(lease: Lease, { cookie }: Request, error: number): void {
    simpleReply.put(viewOf(lease.bytes), { magic: magic.simpleReply, error, cookie });
  }

  #chunk(view: DataView, at: number, request: Request, type: number, length: number, last: boolean): void {
    const { cookie, offset } = request;
    const flags = last ? replyFlags.mask.DONE : 0;
    if (this.style === 'extended') {
      extendedReply.put(view, { magic: magic.extendedReply, flags, type, cookie, offset, length: BigInt(length) }, at);
    } else structuredReply.put(view, { magic: magic.structuredReply, flags, type, cookie, length }, at);
  }
}

/** A hole whose contents nobody knows is not told of: clients would be free to read anything there. */
function statusOf({ allocated, zero }: Extent): number {
  return zero ? state.mask.ZERO | (allocated ? 0 : state.mask.HOLE) : 0;
}
