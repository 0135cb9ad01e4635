import { DiskError } from '../error/disk-error.js';

/** A line of a channel of JSON documents: docs/interop/qmp-spec of QEMU. */
export interface Line {
  readonly text: string;
  /** Whether the byte 0xFF stood before it: the answer to guest-sync-delimited. */
  readonly delimited: boolean;
}

const newline = 0x0a;
/** Never part of UTF-8. */
const sentinel = 0xff;

/** Cuts a stream of bytes into lines; the sentinel throws away what came before it. */
export class MessageReader {
  #parts: Uint8Array[] = [];
  #length = 0;
  #delimited = false;

  /** @param limit bytes: the longest line that is kept in memory */
  constructor(
    private readonly name: string,
    private readonly limit: number,
  ) {}

  /** @throws {DiskError} PROTOCOL for a line that is longer */
  push(chunk: Uint8Array): Line[] {
    const lines: Line[] = [];
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte === sentinel) {
        this.#clear();
        this.#delimited = true;
        start = at + 1;
      } else if (byte === newline) {
        this.#keep(chunk.subarray(start, at));
        const text = Buffer.concat(this.#parts).toString('utf8').trim();
        if (text !== '') lines.push({ text, delimited: this.#delimited });
        this.#clear();
        this.#delimited = false;
        start = at + 1;
      }
    }
    this.#keep(chunk.subarray(start));
    return lines;
  }

  #keep(part: Uint8Array): void {
    this.#length += part.length;
    if (this.#length > this.limit) {
      this.#clear();
      throw new DiskError('PROTOCOL', `${this.name}: sent a line of more than ${this.limit} bytes`, {
        device: this.name,
      });
    }
    if (part.length > 0) this.#parts.push(Uint8Array.from(part));
  }

  #clear(): void {
    this.#parts = [];
    this.#length = 0;
  }
}
