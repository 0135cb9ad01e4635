import type { BlockDevice } from '../device/block-device.js';
import { transmissionFlags } from './on-wire.js';
import type { RequestRing } from './request-ring.js';

/** A disk under a name. The device stays its owner's: the server never closes it. */
export interface Export {
  /** At most 4096 bytes of UTF-8. */
  readonly name: string;
  /** For people: never empty. */
  readonly description: string;
  readonly device: BlockDevice;
  /** Refuses writes even where the device takes them. */
  readonly readOnly?: boolean | undefined;
  /** Where each request for bytes is noted before it is carried out, as the client made it. */
  readonly requests?: RequestRing | undefined;
}

export function isWritable({ device, readOnly = false }: Export): boolean {
  return device.facts.writable && !readOnly;
}

/** How the server answers, as the client asked for in the handshake. */
export type ReplyStyle = 'simple' | 'structured' | 'extended';

/** Bytes: the longest payload of a request or of a reply (section "Size constraints": at least 2^25). */
export const maximumPayload = 32 << 20;

/** The size constraints that the server promises for a device. */
export function sizeConstraints({ facts }: BlockDevice): { minimum: number; preferred: number; maximum: number } {
  const { minimum, preferred } = facts.blockSize;
  return { minimum, preferred: Math.max(512, preferred), maximum: maximumPayload };
}

/**
 * What the client may ask of an export.
 *
 * @param contexts whether a metadata context was selected
 */
export function flagsOf(exported: Export, style: ReplyStyle, contexts: boolean): number {
  const { facts } = exported.device;
  const writable = isWritable(exported);
  const { mask } = transmissionFlags;
  const durable = facts.flush || facts.fua === 'native';
  return (
    mask.HAS_FLAGS |
    mask.CAN_MULTI_CONN |
    mask.SEND_CACHE |
    (facts.flush ? mask.SEND_FLUSH : 0) |
    (style === 'simple' ? 0 : mask.SEND_DF) |
    (style === 'extended' && contexts ? mask.BLOCK_STATUS_PAYLOAD : 0) |
    (writable ? 0 : mask.READ_ONLY) |
    (writable && facts.zero !== 'none' ? mask.SEND_WRITE_ZEROES | mask.SEND_FAST_ZERO : 0) |
    (writable && facts.trim ? mask.SEND_TRIM : 0) |
    (writable && durable ? mask.SEND_FUA : 0)
  );
}

/** The export of that name; the empty name means the first. */
export function findExport(exports: readonly Export[], name: string): Export | undefined {
  return exports.find((candidate) => candidate.name === name) ?? (name === '' ? exports[0] : undefined);
}
