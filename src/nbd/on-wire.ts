import { bit, flags } from '../binary/bits.js';
import { layout, u16, u32, u64 } from '../binary/layout.js';

/**
 * Every structure and constant of the NBD protocol that the server uses. All numbers are big-endian. The document is
 * NBD proto.md; extended headers are from its branch extension-ext-header.
 */

const wire = (size: number, section: string) => ({ size, endian: 'big', spec: `NBD proto.md, ${section}` }) as const;

/** TCP port given to NBD by IANA. */
export const defaultPort = 10809;
/** Bytes: the longest string of the protocol (section "Values", restrictions on strings). */
export const longestString = 4096;

export const magic = {
  /** "NBDMAGIC" */
  greeting: 0x4e42444d41474943n,
  /** "IHAVEOPT" */
  option: 0x49484156454f5054n,
  optionReply: 0x0003e889045565a9n,
  request: 0x25609513,
  simpleReply: 0x67446698,
  structuredReply: 0x668e33ef,
  extendedRequest: 0x21e41c71,
  extendedReply: 0x6e8a278c,
} as const;

export const handshakeFlags = flags('handshake flags', { FIXED_NEWSTYLE: bit(0), NO_ZEROES: bit(1) });
export const clientFlags = flags('client flags', { FIXED_NEWSTYLE: bit(0), NO_ZEROES: bit(1) });

export const transmissionFlags = flags('transmission flags', {
  HAS_FLAGS: bit(0),
  READ_ONLY: bit(1),
  SEND_FLUSH: bit(2),
  SEND_FUA: bit(3),
  ROTATIONAL: bit(4),
  SEND_TRIM: bit(5),
  SEND_WRITE_ZEROES: bit(6),
  SEND_DF: bit(7),
  CAN_MULTI_CONN: bit(8),
  SEND_RESIZE: bit(9),
  SEND_CACHE: bit(10),
  SEND_FAST_ZERO: bit(11),
  BLOCK_STATUS_PAYLOAD: bit(12),
});

export const option = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
  EXTENDED_HEADERS: 11,
} as const;

/** An error of the handshake has bit 31 set. */
const replyError = (number: number) => (bit(31) | number) >>> 0;

export const optionReplyType = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: replyError(1),
  ERR_POLICY: replyError(2),
  ERR_INVALID: replyError(3),
  ERR_PLATFORM: replyError(4),
  ERR_TLS_REQD: replyError(5),
  ERR_UNKNOWN: replyError(6),
  ERR_SHUTDOWN: replyError(7),
  ERR_BLOCK_SIZE_REQD: replyError(8),
  ERR_TOO_BIG: replyError(9),
  ERR_EXT_HEADER_REQD: replyError(10),
} as const;

export const information = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;

export const command = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const;

export const commandFlags = flags('command flags', {
  FUA: bit(0),
  NO_HOLE: bit(1),
  DF: bit(2),
  REQ_ONE: bit(3),
  FAST_ZERO: bit(4),
  PAYLOAD_LEN: bit(5),
});

export const replyFlags = flags('reply flags', { DONE: bit(0) });

export const replyType = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  BLOCK_STATUS_EXT: 6,
  ERROR: bit(15) | 1,
} as const;

/** The only values that an error field may have (section "Error values"). */
export const errorValue = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type ErrorName = keyof typeof errorValue;

/** The metadata context base:allocation and the flags of its descriptors. */
export const baseAllocation = 'base:allocation';
export const state = flags('base:allocation', { HOLE: bit(0), ZERO: bit(1) });

/** The server's first words. */
export const greeting = layout('newstyle greeting', wire(18, 'Newstyle negotiation'), {
  magic: u64(0, '', 'NBDMAGIC'),
  option_magic: u64(8, '', 'IHAVEOPT'),
  handshake_flags: u16(16, '', 'handshake flags'),
});

/** The client's answer to the greeting. */
export const clientGreeting = layout('client flags', wire(4, 'Newstyle negotiation'), {
  client_flags: u32(0, '', 'client flags'),
});

/** Followed by `length` bytes of data. */
export const optionRequest = layout('option', wire(16, 'Newstyle negotiation'), {
  magic: u64(0, '', 'IHAVEOPT'),
  option: u32(8, '', 'option type'),
  length: u32(12, 'bytes', 'of the data that follow'),
});

/** Followed by `length` bytes of data. */
export const optionReply = layout('option reply', wire(20, 'Fixed newstyle negotiation'), {
  magic: u64(0, '', 'reply to an option'),
  option: u32(8, '', 'option type that it answers'),
  type: u32(12, '', 'reply type'),
  length: u32(16, 'bytes', 'of the data that follow'),
});

/** The answer to EXPORT_NAME, without an option reply around it. */
export const exportNameReply = layout('EXPORT_NAME reply', wire(10, 'Newstyle negotiation'), {
  size: u64(0, 'bytes', 'of the export'),
  transmission_flags: u16(8, '', 'transmission flags'),
});
/** Bytes of zeros after an EXPORT_NAME reply, unless NO_ZEROES was agreed on. */
export const exportNamePadding = 124;

/** A length before a string, and the count of a list. */
export const length32 = layout('32-bit length', wire(4, 'Option types'), { length: u32(0, '', 'bytes or items') });
export const count16 = layout('16-bit count', wire(2, 'NBD_OPT_INFO'), { count: u16(0, '', 'information requests') });

export const infoExport = layout('NBD_INFO_EXPORT', wire(12, 'NBD_REP_INFO'), {
  type: u16(0, '', 'NBD_INFO_EXPORT'),
  size: u64(2, 'bytes', 'of the export'),
  transmission_flags: u16(10, '', 'transmission flags'),
});

/** NBD_INFO_NAME and NBD_INFO_DESCRIPTION: followed by the string. */
export const infoString = layout('NBD_INFO_NAME', wire(2, 'NBD_REP_INFO'), { type: u16(0, '', 'information type') });

export const infoBlockSize = layout('NBD_INFO_BLOCK_SIZE', wire(14, 'NBD_REP_INFO'), {
  type: u16(0, '', 'NBD_INFO_BLOCK_SIZE'),
  minimum: u32(2, 'bytes', 'smallest length and alignment: a power of 2 to 65536'),
  preferred: u32(6, 'bytes', 'a power of 2 from 512 up'),
  maximum: u32(10, 'bytes', 'largest payload'),
});

/** Followed by the context's name. */
export const metaContext = layout('NBD_REP_META_CONTEXT', wire(4, 'Option reply types'), {
  context_id: u32(0, '', 'metadata context ID'),
});

export const compactRequest = layout('request', wire(28, 'Request message'), {
  magic: u32(0, '', 'NBD_REQUEST_MAGIC'),
  flags: u16(4, '', 'command flags'),
  type: u16(6, '', 'command'),
  cookie: u64(8, '', 'returned in each reply'),
  offset: u64(16, 'bytes', 'from the start of the export'),
  length: u32(24, 'bytes', 'of the range, or of the payload'),
});

export const extendedRequest = layout('extended request', wire(32, 'Request message'), {
  magic: u32(0, '', 'NBD_EXTENDED_REQUEST_MAGIC'),
  flags: u16(4, '', 'command flags'),
  type: u16(6, '', 'command'),
  cookie: u64(8, '', 'returned in each reply'),
  offset: u64(16, 'bytes', 'from the start of the export'),
  length: u64(24, 'bytes', 'of the payload with PAYLOAD_LEN, else of the range'),
});

export const simpleReply = layout('simple reply', wire(16, 'Simple reply message'), {
  magic: u32(0, '', 'NBD_SIMPLE_REPLY_MAGIC'),
  error: u32(4, '', 'error value, or 0'),
  cookie: u64(8, '', 'of the request'),
});

export const structuredReply = layout('structured reply chunk', wire(20, 'Structured reply chunk message'), {
  magic: u32(0, '', 'NBD_STRUCTURED_REPLY_MAGIC'),
  flags: u16(4, '', 'reply flags'),
  type: u16(6, '', 'reply type'),
  cookie: u64(8, '', 'of the request'),
  length: u32(16, 'bytes', 'of the payload'),
});

export const extendedReply = layout('extended reply chunk', wire(32, 'Extended reply chunk message'), {
  magic: u32(0, '', 'NBD_EXTENDED_REPLY_MAGIC'),
  flags: u16(4, '', 'reply flags'),
  type: u16(6, '', 'reply type'),
  cookie: u64(8, '', 'of the request'),
  offset: u64(16, 'bytes', 'of the request'),
  length: u64(24, 'bytes', 'of the payload'),
});

/** Followed by the data. */
export const offsetData = layout('NBD_REPLY_TYPE_OFFSET_DATA', wire(8, 'Structured reply types'), {
  offset: u64(0, 'bytes', 'of the data on the export'),
});

export const offsetHole = layout('NBD_REPLY_TYPE_OFFSET_HOLE', wire(12, 'Structured reply types'), {
  offset: u64(0, 'bytes', 'of the hole on the export'),
  hole_size: u32(8, 'bytes', 'above 0'),
});

/** Followed by the message. */
export const errorChunk = layout('NBD_REPLY_TYPE_ERROR', wire(6, 'Structured reply types'), {
  error: u32(0, '', 'error value'),
  message_length: u16(4, 'bytes', 'at most 4096'),
});

/** Followed by descriptors. */
export const blockStatus = layout('NBD_REPLY_TYPE_BLOCK_STATUS', wire(4, 'Structured reply types'), {
  context_id: u32(0, '', 'metadata context ID'),
});
export const descriptor = layout('block status descriptor', wire(8, 'Structured reply types'), {
  length: u32(0, 'bytes', 'above 0'),
  status: u32(4, '', 'flags of the metadata context'),
});

/** Followed by extended descriptors. */
export const blockStatusExt = layout('NBD_REPLY_TYPE_BLOCK_STATUS_EXT', wire(8, 'Structured reply types'), {
  context_id: u32(0, '', 'metadata context ID'),
  count: u32(4, '', 'descriptors'),
});
export const descriptorExt = layout('extended block status descriptor', wire(16, 'Structured reply types'), {
  length: u64(0, 'bytes', 'above 0'),
  status: u64(8, '', 'flags of the metadata context'),
});

/** The payload of BLOCK_STATUS with PAYLOAD_LEN; followed by the IDs of the contexts that are asked for. */
export const statusPayload = layout('NBD_CMD_BLOCK_STATUS payload', wire(8, 'Request types'), {
  length: u64(0, 'bytes', 'of the range'),
});
