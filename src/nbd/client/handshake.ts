import { viewOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import type { ReplyStyle } from '../export.js';
import {
  baseAllocation,
  clientFlags,
  clientGreeting,
  count16,
  exportNamePadding,
  exportNameReply,
  greeting,
  handshakeFlags,
  infoBlockSize,
  infoExport,
  information,
  infoString,
  length32,
  longestString,
  magic,
  metaContext,
  option,
  optionReply,
  optionReplyType,
  optionRequest,
} from '../on-wire.js';

/** Bytes: what a server says to an option is short; more is no NBD server. */
const longestReply = 64 << 10;
/** Replies to one option. */
const mostReplies = 1024;
/** Bytes: what is assumed of a server that says nothing (section "Size constraints"). */
const assumed = { minimum: 1, preferred: 4096, maximum: 32 << 20 };
const largestSize = 2n ** 63n - 1n;

/** What both sides agreed on. */
export interface Agreed {
  /** Bytes. */
  readonly size: bigint;
  /** Transmission flags. */
  readonly flags: number;
  readonly style: ReplyStyle;
  /** The ID of base:allocation, where the server has it. */
  readonly allocationId: number | undefined;
  readonly blockSize: { readonly minimum: number; readonly preferred: number; readonly maximum: number };
}

/** What the handshake asks for when all that follows is to go through TLS. */
export const startTls = 'start-tls';

/** Yields how many bytes it needs next, and is given exactly those; or {@link startTls}. */
export type ClientHandshake = Generator<number | typeof startTls, Agreed, Buffer>;

interface Reply {
  readonly type: number;
  readonly data: Buffer;
}

/**
 * The client's side of the fixed newstyle handshake, knowing no socket.
 *
 * @param name of the export; empty: the server's default one
 * @param server for errors
 * @param send called with what goes to the server, in order
 * @param secure TLS comes first; without it nothing goes on
 * @throws {DiskError} NOT_FOUND when there is no such export; UNSUPPORTED for older handshakes and where the server insists
 * on TLS; PROTOCOL when the server breaks it; IO when it refuses otherwise
 * @see NBD proto.md, "Newstyle negotiation" to "Option types"
 */
export function* clientHandshake(
  name: string,
  server: string,
  send: (bytes: Buffer) => void,
  secure = false,
): ClientHandshake {
  if (Buffer.byteLength(name) > longestString) {
    throw new DiskError('USAGE', `${server}: the name of an export has at most ${longestString} bytes`);
  }
  const hello = greeting.at(viewOf(yield greeting.size));
  if (hello.magic !== magic.greeting) throw broken(server, `greets with ${hex(hello.magic)}, which is no NBD server's`);
  if (hello.option_magic !== magic.option || !handshakeFlags.has(hello.handshake_flags, 'FIXED_NEWSTYLE')) {
    throw new DiskError('UNSUPPORTED', `${server}: speaks an older NBD than fixed newstyle`, { reason: 'oldstyle' });
  }
  const noZeroes = handshakeFlags.has(hello.handshake_flags, 'NO_ZEROES');
  const answer = Buffer.alloc(clientGreeting.size);
  const { FIXED_NEWSTYLE, NO_ZEROES } = clientFlags.mask;
  clientGreeting.put(viewOf(answer), { client_flags: FIXED_NEWSTYLE | (noZeroes ? NO_ZEROES : 0) });
  send(answer);

  if (secure) {
    sendOption(send, option.STARTTLS);
    const reply = yield* nextReply(option.STARTTLS, server);
    if (reply.type !== optionReplyType.ACK) throw noTls(reply, server);
    yield startTls;
  }
  const style = yield* agreeOnStyle(server, send);
  const allocationId = style === 'simple' ? undefined : yield* selectAllocation(name, server, send);
  const agreed = yield* go(name, server, send);
  if (agreed !== undefined) return checked({ ...agreed, style, allocationId }, server);

  sendOption(send, option.EXPORT_NAME, Buffer.from(name));
  const reply = exportNameReply.at(viewOf(yield exportNameReply.size));
  const { size, transmission_flags: flags } = reply;
  if (!noZeroes) yield exportNamePadding;
  return checked({ size, flags, blockSize: assumed, style, allocationId }, server);
}

function* agreeOnStyle(server: string, send: (bytes: Buffer) => void): Generator<number, ReplyStyle, Buffer> {
  for (const [type, style] of [
    [option.EXTENDED_HEADERS, 'extended'],
    [option.STRUCTURED_REPLY, 'structured'],
  ] as const) {
    sendOption(send, type);
    const reply = yield* nextReply(type, server);
    if (reply.type === optionReplyType.ACK) return style;
    if (reply.type === optionReplyType.ERR_TLS_REQD) throw refusal(reply, server, '');
    if (!isError(reply)) throw broken(server, `answers option ${type} with ${hex(reply.type)}`);
  }
  return 'simple';
}

function* selectAllocation(
  name: string,
  server: string,
  send: (bytes: Buffer) => void,
): Generator<number, number | undefined, Buffer> {
  const data = Buffer.concat([counted(name), lengthOf(1), counted(baseAllocation)]);
  sendOption(send, option.SET_META_CONTEXT, data);
  let id: number | undefined;
  for (let count = 0; count < mostReplies; count++) {
    const reply = yield* nextReply(option.SET_META_CONTEXT, server);
    // Without it there are no extents, and that is all.
    if (reply.type === optionReplyType.ACK || isError(reply))
      return reply.type === optionReplyType.ACK ? id : undefined;
    if (reply.type !== optionReplyType.META_CONTEXT || reply.data.length < metaContext.size) {
      throw broken(server, `answers SET_META_CONTEXT with ${hex(reply.type)}`);
    }
    const context = reply.data.toString('utf8', metaContext.size);
    if (context === baseAllocation) id = metaContext.at(viewOf(reply.data)).context_id;
  }
  throw broken(server, 'does not end its answer to SET_META_CONTEXT');
}

/** Undefined: the server does not know this option. */
function* go(
  name: string,
  server: string,
  send: (bytes: Buffer) => void,
): Generator<number, Pick<Agreed, 'size' | 'flags' | 'blockSize'> | undefined, Buffer> {
  const wanted = Buffer.alloc(2 * count16.size);
  count16.put(viewOf(wanted), { count: 1 });
  count16.put(viewOf(wanted), { count: information.BLOCK_SIZE }, count16.size);
  sendOption(send, option.GO, Buffer.concat([counted(name), wanted]));
  let found: { size: bigint; flags: number } | undefined;
  let blockSize = assumed;
  for (let count = 0; count < mostReplies; count++) {
    const reply = yield* nextReply(option.GO, server);
    const { type, data } = reply;
    if (type === optionReplyType.ACK) {
      if (found === undefined) throw broken(server, 'agrees to an export without its size');
      return { ...found, blockSize };
    }
    if (type === optionReplyType.ERR_UNSUP) return undefined;
    if (isError(reply)) throw refusal(reply, server, name);
    if (type !== optionReplyType.INFO || data.length < infoString.size) {
      throw broken(server, `answers GO with ${hex(type)}`);
    }
    const view = viewOf(data);
    const kind = infoString.at(view).type;
    if (kind === information.EXPORT && data.length === infoExport.size) {
      const { size, transmission_flags: flags } = infoExport.at(view);
      found = { size, flags };
    } else if (kind === information.BLOCK_SIZE && data.length === infoBlockSize.size) {
      const { minimum, preferred, maximum } = infoBlockSize.at(view);
      blockSize = { minimum, preferred, maximum };
    } else if (kind === information.EXPORT || kind === information.BLOCK_SIZE) {
      throw broken(server, `sends information ${kind} of ${data.length} bytes`);
    }
  }
  throw broken(server, 'does not end its answer to GO');
}

function* nextReply(asked: number, server: string): Generator<number, Reply, Buffer> {
  const header = optionReply.at(viewOf(yield optionReply.size));
  if (header.magic !== magic.optionReply) throw broken(server, `begins a reply with ${hex(header.magic)}`);
  const { option: answered, type, length } = header;
  if (answered !== asked) throw broken(server, `answers option ${answered}, asked was ${asked}`);
  if (length > longestReply) throw broken(server, `answers an option with ${length} bytes`);
  return { type, data: length === 0 ? Buffer.alloc(0) : yield length };
}

/** Sizes that no disk has, and constraints that contradict themselves. */
function checked(agreed: Agreed, server: string): Agreed {
  const { size, blockSize } = agreed;
  if (size > largestSize) throw broken(server, `has an export of ${size} bytes, the most is 2^63-1`);
  const { minimum, preferred, maximum } = blockSize;
  const isPower = (value: number) => value > 0 && Number.isInteger(Math.log2(value));
  if (!isPower(minimum) || minimum > 65_536 || preferred < minimum || maximum < minimum) {
    throw broken(server, `wants blocks of ${minimum}, better ${preferred}, at most ${maximum} bytes`);
  }
  return agreed;
}

function isError({ type }: Reply): boolean {
  return type >= optionReplyType.ERR_UNSUP;
}

function refusal({ type, data }: Reply, server: string, name: string): DiskError {
  const said = data.toString('utf8').slice(0, 300);
  const words = said === '' ? '' : ` ("${said}")`;
  switch (type) {
    case optionReplyType.ERR_UNKNOWN:
      return new DiskError('NOT_FOUND', `${server}: has no export "${name}"${words}`, { reason: 'export' });
    case optionReplyType.ERR_TLS_REQD:
      return new DiskError('UNSUPPORTED', `${server}: wants TLS: use ${server.replace(/^nbd\b/i, 'nbds')}${words}`, {
        reason: 'tls',
      });
    case optionReplyType.ERR_POLICY:
      return new DiskError('IO', `${server}: does not serve "${name}" to us${words}`, { errno: 'EPERM' });
    case optionReplyType.ERR_SHUTDOWN:
      return new DiskError('IO', `${server}: is about to end${words}`, { errno: 'ESHUTDOWN' });
    default:
      return new DiskError('IO', `${server}: refuses "${name}" with ${hex(type)}${words}`);
  }
}

function noTls(reply: Reply, server: string): DiskError {
  if (!isError(reply)) return broken(server, `answers STARTTLS with ${hex(reply.type)}`);
  const said = reply.data.toString('utf8').slice(0, 300);
  const words = said === '' ? '' : ` ("${said}")`;
  return new DiskError('UNSUPPORTED', `${server}: the server has no TLS${words}`, { reason: 'tls' });
}

function sendOption(send: (bytes: Buffer) => void, type: number, data: Buffer = Buffer.alloc(0)): void {
  const header = Buffer.alloc(optionRequest.size);
  optionRequest.put(viewOf(header), { magic: magic.option, option: type, length: data.length });
  send(Buffer.concat([header, data]));
}

function counted(text: string): Buffer {
  return Buffer.concat([lengthOf(Buffer.byteLength(text)), Buffer.from(text)]);
}

function lengthOf(length: number): Buffer {
  const bytes = Buffer.alloc(length32.size);
  length32.put(viewOf(bytes), { length });
  return bytes;
}

/** A server that breaks the protocol: nobody knows what it will say next. */
export function broken(server: string, how: string): DiskError {
  return new DiskError('PROTOCOL', `${server}: ${how}`);
}
