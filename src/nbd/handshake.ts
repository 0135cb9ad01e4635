import { viewOf } from '../binary/layout.js';
import { type Export, findExport, flagsOf, type ReplyStyle } from './export.js';
import { exportInformation, parseInformationRequest } from './information.js';
import { isBaseAllocation, matchesBaseAllocation, parseContextQuery } from './meta-context.js';
import {
  baseAllocation,
  clientFlags,
  clientGreeting,
  exportNamePadding,
  exportNameReply,
  greeting,
  handshakeFlags,
  length32,
  longestString,
  magic,
  metaContext,
  option,
  optionReply,
  optionReplyType,
  optionRequest,
} from './on-wire.js';

/** Bytes: more data than any option needs; what is longer is read past and refused. */
const longestOption = 64 << 10;
/** A client that asks more is not negotiating. */
const mostOptions = 1024;

/** The one metadata context has one ID. */
export const allocationContextId = 1;

/** What both sides agreed on. */
export interface Negotiated {
  readonly export: Export;
  readonly style: ReplyStyle;
  /** Whether base:allocation was selected for this export. */
  readonly allocation: boolean;
}

/** Yields how many bytes it needs next, is given exactly those, and returns what was agreed on, or undefined to hang up. */
export type Handshake = Generator<number, Negotiated | undefined, Buffer>;

/** Whether clients may, or must, go on under TLS. */
export type TlsMode = 'off' | 'on' | 'require';

/** What the handshake does about TLS. */
export interface HandshakeTls {
  readonly mode: TlsMode;
  /** The last reply sent is the last one in the clear. Returns false when the client has said more in the clear. */
  start(): boolean;
}

interface Option {
  readonly type: number;
  readonly data: Buffer;
}

/**
 * The server's side of the fixed newstyle handshake, knowing no socket.
 *
 * @param send called with what goes to the client, in order
 * @param ending whether the server is about to end: then the client is told to leave
 * @see NBD proto.md, "Newstyle negotiation" to "Option types", and "TLS support"
 */
export function* handshake(
  exports: readonly Export[],
  send: (bytes: Buffer) => void,
  tls: HandshakeTls,
  ending: () => boolean,
): Handshake {
  const hello = Buffer.alloc(greeting.size);
  greeting.put(viewOf(hello), {
    magic: magic.greeting,
    option_magic: magic.option,
    handshake_flags: handshakeFlags.mask.FIXED_NEWSTYLE | handshakeFlags.mask.NO_ZEROES,
  });
  send(hello);
  const { client_flags: client } = clientGreeting.at(viewOf(yield clientGreeting.size));
  // "the server MUST drop the TCP connection if the client sets an unknown flag"
  if (clientFlags.beyond(client, ['FIXED_NEWSTYLE', 'NO_ZEROES']).length > 0) return undefined;
  // "TLS requires fixed newstyle negotiation": such a client can only ask for an export, and gets none in the clear.
  const fixed = clientFlags.has(client, 'FIXED_NEWSTYLE');
  if (!fixed && tls.mode === 'require') return undefined;
  const noZeroes = clientFlags.has(client, 'NO_ZEROES');
  let negotiation = new Negotiation(exports, noZeroes, fixed ? tls.mode : 'off', send);

  for (let count = 0; count < mostOptions; count++) {
    const header = optionRequest.at(viewOf(yield optionRequest.size));
    if (header.magic !== magic.option) return undefined;
    const { option: type, length } = header;
    if (length > longestOption) {
      if (type === option.EXPORT_NAME) return undefined;
      for (let left = length; left > 0; left -= longestOption) yield Math.min(left, longestOption);
      if (ending()) negotiation.shutDown(type);
      else negotiation.tooBig(type);
      continue;
    }
    const data = length === 0 ? Buffer.alloc(0) : yield length;
    const result = ending() ? negotiation.shutDown(type) : negotiation.answer({ type, data });
    if (result === 'abort') return undefined;
    if (result === 'tls') {
      // What somebody else may have slipped in before TLS must not pass for the client's words under TLS.
      if (!tls.start()) return undefined;
      negotiation = new Negotiation(exports, noZeroes, 'running', send);
    } else if (result !== undefined) return result;
  }
  return undefined;
}

type Answer = Negotiated | 'abort' | 'tls' | undefined;

/** What has been agreed on so far, and the answer to each option. */
class Negotiation {
  #style: ReplyStyle = 'simple';
  /** The name for which base:allocation was selected last. */
  #allocationOf: string | undefined;

  constructor(
    private readonly exports: readonly Export[],
    private readonly noZeroes: boolean,
    private readonly tls: TlsMode | 'running',
    private readonly send: (bytes: Buffer) => void,
  ) {}

  answer(asked: Option): Answer {
    if (this.#needsTls(asked.type)) return this.#requireTls(asked.type);
    switch (asked.type) {
      case option.EXPORT_NAME:
        return this.#exportName(asked);
      case option.ABORT:
        return this.#abort();
      case option.STARTTLS:
        return this.#startTls(asked);
      case option.LIST:
        return this.#list(asked);
      case option.INFO:
      case option.GO:
        return this.#information(asked);
      case option.STRUCTURED_REPLY:
        return this.#structuredReply(asked);
      case option.EXTENDED_HEADERS:
        return this.#extendedHeaders(asked);
      case option.LIST_META_CONTEXT:
      case option.SET_META_CONTEXT:
        return this.#contexts(asked);
      default:
        return this.#refuse(asked.type, optionReplyType.ERR_UNSUP, 'this option is not supported');
    }
  }

  /** The answer to any option while the server ends. */
  shutDown(type: number): Answer {
    // Each has its own way to end.
    if (type === option.ABORT) return this.#abort();
    if (type === option.EXPORT_NAME) return 'abort';
    return this.#refuse(type, optionReplyType.ERR_SHUTDOWN, 'the server is about to end');
  }

  tooBig(type: number): void {
    if (this.#needsTls(type)) {
      this.#requireTls(type);
      return;
    }
    if (type === option.SET_META_CONTEXT) this.#allocationOf = undefined;
    this.#refuse(type, optionReplyType.ERR_TOO_BIG, `the data are longer than ${longestOption} bytes`);
  }

  #abort(): Answer {
    this.#reply(option.ABORT, optionReplyType.ACK);
    return 'abort';
  }

  #exportName({ data }: Option): Answer {
    const name = data.toString('utf8');
    const found = data.length > longestString ? undefined : findExport(this.exports, name);
    // There is no way to say no to this option but to hang up.
    if (found === undefined || this.#style === 'extended') return 'abort';
    const negotiated = this.#agreed(found, name);
    const reply = Buffer.alloc(exportNameReply.size + (this.noZeroes ? 0 : exportNamePadding));
    exportNameReply.put(viewOf(reply), {
      size: found.device.facts.size,
      transmission_flags: flagsOf(found, this.#style, negotiated.allocation),
    });
    this.send(reply);
    return negotiated;
  }

  #needsTls(type: number): boolean {
    return this.tls === 'require' && type !== option.STARTTLS && type !== option.ABORT;
  }

  #requireTls(type: number): Answer {
    // There is no way to say no to EXPORT_NAME but to hang up.
    if (type === option.EXPORT_NAME) return 'abort';
    return this.#refuse(type, optionReplyType.ERR_TLS_REQD, 'TLS comes first: STARTTLS');
  }

  #startTls({ type, data }: Option): Answer {
    if (this.tls === 'off') return this.#refuse(type, optionReplyType.ERR_POLICY, 'TLS is not switched on');
    if (this.tls === 'running') return this.#refuse(type, optionReplyType.ERR_INVALID, 'TLS is in use already');
    if (data.length > 0) return this.#refuse(type, optionReplyType.ERR_INVALID, 'STARTTLS takes no data');
    this.#reply(type, optionReplyType.ACK);
    return 'tls';
  }

  #list({ type, data }: Option): Answer {
    if (data.length > 0) return this.#refuse(type, optionReplyType.ERR_INVALID, 'LIST takes no data');
    for (const { name, description } of this.exports) {
      const length = Buffer.alloc(length32.size);
      length32.put(viewOf(length), { length: Buffer.byteLength(name) });
      this.#reply(type, optionReplyType.SERVER, Buffer.concat([length, Buffer.from(name + description)]));
    }
    return this.#reply(type, optionReplyType.ACK);
  }

  #information({ type, data }: Option): Answer {
    const request = parseInformationRequest(data);
    if (request === undefined) return this.#refuse(type, optionReplyType.ERR_INVALID, 'the lengths do not add up');
    const found = findExport(this.exports, request.name);
    if (found === undefined) return this.#unknown(type, request.name);
    const negotiated = this.#agreed(found, request.name);
    const flags = flagsOf(found, this.#style, negotiated.allocation);
    for (const item of exportInformation(found, flags, request.wanted)) this.#reply(type, optionReplyType.INFO, item);
    this.#reply(type, optionReplyType.ACK);
    return type === option.GO ? negotiated : undefined;
  }

  #structuredReply({ type, data }: Option): Answer {
    if (data.length > 0) return this.#refuse(type, optionReplyType.ERR_INVALID, 'STRUCTURED_REPLY takes no data');
    if (this.#style === 'extended') {
      return this.#refuse(type, optionReplyType.ERR_EXT_HEADER_REQD, 'extended headers are in use already');
    }
    this.#style = 'structured';
    return this.#reply(type, optionReplyType.ACK);
  }

  #extendedHeaders({ type, data }: Option): Answer {
    if (data.length > 0) return this.#refuse(type, optionReplyType.ERR_INVALID, 'EXTENDED_HEADERS takes no data');
    this.#style = 'extended';
    return this.#reply(type, optionReplyType.ACK);
  }

  #contexts({ type, data }: Option): Answer {
    const set = type === option.SET_META_CONTEXT;
    // "Issuing this command replaces all previously-set metadata contexts (including when this command fails)"
    if (set) this.#allocationOf = undefined;
    if (set && this.#style === 'simple') {
      return this.#refuse(type, optionReplyType.ERR_INVALID, 'structured replies come first');
    }
    const query = parseContextQuery(data);
    if (query === undefined) return this.#refuse(type, optionReplyType.ERR_INVALID, 'the lengths do not add up');
    if (findExport(this.exports, query.name) === undefined) return this.#unknown(type, query.name);
    const selected = set ? query.queries.some(isBaseAllocation) : matchesBaseAllocation(query.queries);
    if (selected) {
      if (set) this.#allocationOf = query.name;
      const id = Buffer.alloc(metaContext.size);
      metaContext.put(viewOf(id), { context_id: set ? allocationContextId : 0 });
      this.#reply(type, optionReplyType.META_CONTEXT, Buffer.concat([id, Buffer.from(baseAllocation)]));
    }
    return this.#reply(type, optionReplyType.ACK);
  }

  #agreed(found: Export, name: string): Negotiated {
    return { export: found, style: this.#style, allocation: this.#allocationOf === name };
  }

  #unknown(type: number, name: string): undefined {
    // "MUST NOT contain NUL characters", and whole characters only.
    const shown = Array.from(name.replaceAll('\0', '␀')).slice(0, 256).join('');
    return this.#refuse(type, optionReplyType.ERR_UNKNOWN, `no export is named "${shown}"`);
  }

  #refuse(type: number, error: number, message: string): undefined {
    return this.#reply(type, error, Buffer.from(message));
  }

  #reply(type: number, reply: number, data: Buffer = Buffer.alloc(0)): undefined {
    const header = Buffer.alloc(optionReply.size);
    optionReply.put(viewOf(header), { magic: magic.optionReply, option: type, type: reply, length: data.length });
    this.send(Buffer.concat([header, data]));
    return undefined;
  }
}
