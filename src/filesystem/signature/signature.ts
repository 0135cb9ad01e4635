/** What a signature is, and how the tables write one. */

/** Where the magic bytes of a format stand. */
export interface Mark {
  /** Which end of the device `base` counts from; from its end, the size is first rounded down to `unit` bytes. */
  readonly from: 'start' | 'end';
  /** Bytes. */
  readonly base: bigint;
  readonly unit: bigint;
  /** Bytes from the start of the structure, which begins at `base`. */
  readonly inside: number;
  readonly magic: Uint8Array;
}

export interface Identity {
  readonly label?: string | undefined;
  readonly uuid?: string | undefined;
  /** When the structure tells of which of several kinds it is. */
  readonly type?: string | undefined;
}

/** Where a structure was found, and on how large a device; both in bytes. */
export interface Where {
  readonly offset: bigint;
  readonly size: bigint;
}

export type FormatUsage = 'filesystem' | 'raid' | 'crypto' | 'other';

export interface Signature {
  /** As blkid spells it. */
  readonly type: string;
  readonly usage: FormatUsage;
  readonly marks: readonly Mark[];
  /** Bytes of the structure that `inspect` reads. */
  readonly size?: number;
  /** What the structure calls itself, or undefined when the magic was there by chance. */
  readonly inspect?: (view: DataView, where: Where) => Identity | undefined;
  /** Types that it holds, or looks like, of which nothing is said. `*`: whatever lies in it is its own. */
  readonly hides?: readonly string[];
  /** The magic is short, and `inspect` cannot tell: counts only where nothing else is found. */
  readonly weak?: boolean;
}

export function magicBytes(magic: string | readonly number[]): Uint8Array {
  return typeof magic === 'string' ? Buffer.from(magic, 'latin1') : Uint8Array.from(magic);
}

/** Magic bytes `inside` bytes into a structure that begins `base` bytes from the start of the device. */
export function at(base: number, inside: number, magic: string | readonly number[]): Mark {
  return { from: 'start', base: BigInt(base), unit: 1n, inside, magic: magicBytes(magic) };
}

/** The same, of a structure that begins `base` bytes before the end of the device, rounded down to `unit` bytes. */
export function beforeEnd(base: number, unit: number, inside: number, magic: string | readonly number[]): Mark {
  return { from: 'end', base: BigInt(base), unit: BigInt(unit), inside, magic: magicBytes(magic) };
}

export const kibibyte = 1024;
export const mebibyte = 1024 * 1024;
export const sector = 512;
