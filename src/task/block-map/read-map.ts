import { addAbortSignal } from 'node:stream';
import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import { wrapSystemError } from '../../host/errno.js';
import { openStream } from '../../host/read-lines.js';
import type { TaskContext } from '../context.js';
import { type LineKind, lineKinds } from './map-lines.js';
import type { LineSink } from './owner-index.js';

/** Bytes that are read at a time. */
const chunkSize = 4 << 20;
/** Bytes: no path is as long. */
const longestLine = 1 << 20;

const newline = 0x0a;
const space = 0x20;
const backslash = 0x5c;
/** Kinds by the byte that stands for them; `l` is virt-bmap's own word for a logical volume. */
const kinds = new Map<number, LineKind>([
  ...lineKinds.map((kind) => [kind.charCodeAt(0), kind] as const),
  ['l'.charCodeAt(0), 'p'],
]);

/**
 * Reads a block map in the format of virt-bmap, as `bmap` writes it, and gives its lines to a sink, without keeping them.
 *
 * @param size bytes of the disk, which no line may pass
 * @throws {DiskError} CORRUPT for a line that is none, naming it; USAGE for a map that ends past the disk; NOT_FOUND, IO,
 * CANCELLED
 */
export async function readMap(
  path: string,
  size: bigint,
  sink: LineSink,
  { signal, onProgress }: TaskContext,
): Promise<void> {
  const stream = await openStream(path, chunkSize);
  if (signal !== undefined) addAbortSignal(signal, stream);
  const reader = new MapReader(path, size, sink);
  let rest: Buffer = Buffer.alloc(0);
  let done = 0n;
  try {
    for await (const chunk of stream) {
      if (!(chunk instanceof Buffer)) continue;
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      rest = bytes.subarray(reader.take(bytes));
      done += BigInt(chunk.length);
      onProgress?.({ phase: `reading ${path}`, done });
    }
  } catch (error) {
    if (signal?.aborted === true) throw DiskError.cancelled(signal);
    throw error instanceof DiskError ? error : wrapSystemError(`read the block map ${path}`, error);
  }
  reader.end(rest.length);
}

class MapReader {
  #line = 0;
  #last = 0;
  readonly #size: number;
  /** The device of the line before, and the number that it has. */
  #device: Buffer = Buffer.alloc(0);
  #deviceNumber = 0;

  constructor(
    private readonly path: string,
    private readonly diskSize: bigint,
    private readonly sink: LineSink,
  ) {
    this.#size = Number(diskSize);
  }

  /** Takes the whole lines. @returns how many bytes they have */
  take(bytes: Buffer): number {
    let start = 0;
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, start)) {
      this.#line++;
      this.#read(bytes, start, end);
      start = end + 1;
    }
    if (bytes.length - start > longestLine) {
      this.#line++;
      throw this.#wrong(`it has more than ${longestLine} bytes`);
    }
    return start;
  }

  end(kept: number): void {
    if (kept > 0) {
      this.#line++;
      throw this.#wrong('it is cut short: no end of line follows it');
    }
    if (this.#line === 0) throw new DiskError('CORRUPT', `${this.path}: no block map: it has no lines`);
  }

  #read(bytes: Buffer, start: number, end: number): void {
    const first = this.#wordEnd(bytes, start, end);
    if (first - start !== 1 || bytes[start] !== 0x31) {
      throw this.#wrong(`it begins with "${text(bytes, start, first)}", and not with 1, the number of the disk`);
    }
    const startEnd = this.#wordEnd(bytes, first + 1, end);
    const endEnd = this.#wordEnd(bytes, startEnd + 1, end);
    const from = this.#hex(bytes, first + 1, startEnd);
    const to = this.#hex(bytes, startEnd + 1, endEnd);
    const kind = kinds.get(bytes[endEnd + 1] ?? 0);
    if (kind === undefined || bytes[endEnd + 2] !== space) {
      throw this.#wrong(`its kind is "${text(bytes, endEnd + 1, end).split(' ')[0]}", expected ${[...lineKinds]}`);
    }
    const deviceStart = endEnd + 3;
    const deviceEnd = this.#wordEnd(bytes, deviceStart, end);
    if (deviceEnd === deviceStart) throw this.#wrong('it names no device');
    if (to <= from) throw this.#wrong(`it ends at ${hex(to)}, and begins at ${hex(from)}`);
    if (from < this.#last) throw this.#wrong(`it begins at ${hex(from)}, before the line above it: sort the map`);
    if (to > this.#size) {
      throw new DiskError(
        'USAGE',
        `line ${this.#line} of ${this.path} ends at ${hex(to)}, past the end of the disk (${hex(this.diskSize)}): it is the map of another disk`,
      );
    }
    this.#last = from;
    const device = this.#deviceOf(bytes, deviceStart, deviceEnd);
    if (deviceEnd === end) this.sink.add(kind, from, to, device, undefined, 0, 0);
    else this.#addWithPath(kind, from, to, device, bytes, deviceEnd + 1, end);
  }

  #addWithPath(
    kind: LineKind,
    from: number,
    to: number,
    device: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (start === end) throw this.#wrong('a space is all that follows its device');
    let escaped = start;
    while (escaped < end && bytes[escaped] !== backslash) escaped++;
    if (escaped === end) {
      this.sink.add(kind, from, to, device, bytes, start, end);
      return;
    }
    const path = unescaped(bytes.toString('latin1', start, end));
    if (path === undefined) throw this.#wrong('a backslash in its path begins none of \\\\, \\xNN and \\uNNNN');
    this.sink.add(kind, from, to, device, path, 0, path.length);
  }

  #deviceOf(bytes: Buffer, start: number, end: number): number {
    const known = this.#device;
    let at = start;
    while (at < end && bytes[at] === known[at - start]) at++;
    if (at < end || end - start !== known.length) {
      this.#device = Buffer.from(bytes.subarray(start, end));
      if (this.#device.some((byte) => byte < space || byte === 0x7f)) {
        throw this.#wrong('its device has a control character (lines end in a newline alone)');
      }
      this.#deviceNumber = this.sink.device(bytes, start, end);
    }
    return this.#deviceNumber;
  }

  #wordEnd(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end && bytes[at] !== space) at++;
    return at;
  }

  #hex(bytes: Buffer, start: number, end: number): number {
    let value = 0;
    for (let at = start; at < end; at++) {
      const byte = bytes[at] ?? 0;
      const digit = byte >= 0x30 && byte <= 0x39 ? byte - 0x30 : byte >= 0x61 && byte <= 0x66 ? byte - 0x57 : -1;
      if (digit === -1) throw this.#wrong(`"${text(bytes, start, end)}" is no offset in hexadecimal`);
      value = value * 16 + digit;
    }
    if (start === end || end - start > 14 || !Number.isSafeInteger(value)) {
      throw this.#wrong(`"${text(bytes, start, end)}" is no offset below 2^53`);
    }
    return value;
  }

  #wrong(what: string): DiskError {
    return new DiskError('CORRUPT', `line ${this.#line} of ${this.path} is no line of a block map: ${what}`, {
      device: this.path,
    });
  }
}

/** At most 40 characters of what stands there. */
function text(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('utf8', start, Math.min(end, start + 40));
}

/**
 * Undoes the escapes of a path in a map.
 *
 * @param path its bytes, each of them a character
 * @returns undefined for an escape that there is not
 */
export function unescaped(path: string): Buffer | undefined {
  const parts: Buffer[] = [];
  const escapes = /\\(?:(\\)|x([0-9a-f]{2})|u([0-9a-f]{4}))?/g;
  let at = 0;
  for (const found of path.matchAll(escapes)) {
    const [all, same, byte, character] = found;
    parts.push(Buffer.from(path.slice(at, found.index), 'latin1'));
    if (same !== undefined) parts.push(Buffer.from('\\'));
    else if (byte !== undefined) parts.push(Buffer.from(byte, 'hex'));
    else if (character !== undefined) parts.push(Buffer.from(String.fromCharCode(Number.parseInt(character, 16))));
    else return undefined;
    at = found.index + all.length;
  }
  parts.push(Buffer.from(path.slice(at), 'latin1'));
  return Buffer.concat(parts);
}
