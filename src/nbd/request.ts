import { viewOf } from '../binary/layout.js';
import { flagsOf, isWritable, maximumPayload, type ReplyStyle } from './export.js';
import type { Negotiated } from './handshake.js';
import {
  command,
  commandFlags,
  compactRequest,
  type ErrorName,
  extendedRequest,
  length32,
  magic,
  statusPayload,
  transmissionFlags,
} from './on-wire.js';

/** A request of the transmission phase, before anybody has judged it. */
export interface Request {
  readonly type: number;
  readonly flags: number;
  readonly cookie: bigint;
  /** Bytes from the start of the export: 0 … 2^64 - 1. */
  readonly offset: bigint;
  /** Bytes of the range that it works on: 0 … 2^64 - 1. */
  readonly length: bigint;
  /** Bytes that follow its header: 0 … 2^64 - 1. */
  readonly payload: bigint;
}

/** Bytes of a request's header. */
export function requestSize(style: ReplyStyle): number {
  return style === 'extended' ? extendedRequest.size : compactRequest.size;
}

/** The request in `header`, or undefined when its magic number is wrong: then nobody knows where the next one is. */
export function parseRequest(header: Buffer, style: ReplyStyle): Request | undefined {
  if (style === 'extended') {
    const view = extendedRequest.at(viewOf(header));
    if (view.magic !== magic.extendedRequest) return undefined;
    const { type, flags, cookie, offset, length } = view;
    return {
      type,
      flags,
      cookie,
      offset,
      length,
      payload: (flags & commandFlags.mask.PAYLOAD_LEN) === 0 ? 0n : length,
    };
  }
  const view = compactRequest.at(viewOf(header));
  if (view.magic !== magic.request) return undefined;
  const length = BigInt(view.length);
  const { type } = view;
  return {
    type,
    flags: view.flags,
    cookie: view.cookie,
    offset: view.offset,
    length,
    payload: type === command.WRITE ? length : 0n,
  };
}

const { FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN } = commandFlags.mask;

/** The flags of each command that may be set beside FUA. */
const allowedFlags = new Map<number, number>([
  [command.READ, DF],
  [command.WRITE, PAYLOAD_LEN],
  [command.DISC, 0],
  [command.FLUSH, 0],
  [command.TRIM, 0],
  [command.CACHE, 0],
  [command.WRITE_ZEROES, NO_HOLE | FAST_ZERO],
  [command.BLOCK_STATUS, REQ_ONE | PAYLOAD_LEN],
]);

const changing: ReadonlySet<number> = new Set([command.WRITE, command.TRIM, command.WRITE_ZEROES]);

/** Why a request is not carried out. */
export interface Refusal {
  readonly error: ErrorName;
  readonly message: string;
}

const refuse = (error: ErrorName, message: string): Refusal => ({ error, message });

/**
 * Judges requests by what was negotiated.
 *
 * @see NBD proto.md, "Request types" and "Error values"
 */
export function judge({ export: exported, style, allocation }: Negotiated): (request: Request) => Refusal | undefined {
  const { size } = exported.device.facts;
  const writable = isWritable(exported);
  const offered = flagsOf(exported, style, allocation);
  const fua = transmissionFlags.has(offered, 'SEND_FUA') ? FUA : 0;
  const extended = style === 'extended';

  const flagged = ({ type, flags }: Request): Refusal | undefined => {
    let allowed = (allowedFlags.get(type) ?? 0) | fua;
    if (!extended) allowed &= ~PAYLOAD_LEN;
    if (style === 'simple') allowed &= ~DF;
    if ((flags & ~allowed) !== 0) return refuse('EINVAL', `flags ${flags.toString(2)}b do not go with this command`);
    if (extended && type === command.WRITE && (flags & PAYLOAD_LEN) === 0) {
      return refuse('EINVAL', 'an extended write needs the flag PAYLOAD_LEN');
    }
    return undefined;
  };

  const minimum = BigInt(exported.device.facts.blockSize.minimum);
  const ranged = ({ offset, length }: Request, error: ErrorName): Refusal | undefined => {
    const end = offset + length;
    if (end > size) return refuse(error, 'passes the end of the export');
    if (offset % minimum === 0n && (end % minimum === 0n || end === size)) return undefined;
    return refuse('EINVAL', `is no multiple of ${minimum} bytes`);
  };

  return (request) => {
    const { type, offset, length } = request;
    if (!allowedFlags.has(type)) return refuse('EINVAL', `command ${type} is not known`);
    // Before its flags, of which a read-only export offers fewer.
    if (!writable && changing.has(type)) return refuse('EPERM', 'the export is read-only');
    const refusal = flagged(request);
    if (refusal !== undefined) return refusal;
    switch (type) {
      case command.READ:
        return (
          ranged(request, 'EINVAL') ??
          (length > maximumPayload
            ? refuse(style === 'simple' ? 'EINVAL' : 'EOVERFLOW', `the longest read is ${maximumPayload} bytes`)
            : undefined)
        );
      case command.WRITE:
        if (length > maximumPayload) return refuse('EINVAL', `the longest write is ${maximumPayload} bytes`);
        return ranged(request, 'ENOSPC');
      case command.WRITE_ZEROES:
        return transmissionFlags.has(offered, 'SEND_WRITE_ZEROES')
          ? ranged(request, 'ENOSPC')
          : refuse('EINVAL', 'no zeroing');
      case command.TRIM:
        return transmissionFlags.has(offered, 'SEND_TRIM') ? ranged(request, 'EINVAL') : refuse('EINVAL', 'no trim');
      case command.FLUSH:
        if (!transmissionFlags.has(offered, 'SEND_FLUSH')) return refuse('EINVAL', 'no flush');
        return offset === 0n && length === 0n ? undefined : refuse('EINVAL', 'a flush has no offset and no length');
      case command.BLOCK_STATUS:
        if (!allocation) return refuse('EINVAL', 'no metadata context was selected');
        if ((request.flags & PAYLOAD_LEN) !== 0) return statusPayloadRefusal(request);
        return length === 0n ? refuse('EINVAL', 'the length is 0') : ranged(request, 'EINVAL');
      default:
        return ranged(request, 'EINVAL');
    }
  };
}

/** Bytes: the range's length and one ID, since there is but one context. */
export const statusPayloadSize = statusPayload.size + length32.size;

function statusPayloadRefusal({ payload }: Request): Refusal | undefined {
  return payload === BigInt(statusPayloadSize)
    ? undefined
    : refuse('EINVAL', 'the payload has to name the one metadata context');
}
