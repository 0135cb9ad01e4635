import { setImmediate as turn } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import { BufferPool, type Lease } from '../../src/nbd/buffer-pool.js';
import type { Export } from '../../src/nbd/export.js';
import type { TlsMode } from '../../src/nbd/handshake.js';
import { Session } from '../../src/nbd/session.js';

/** An NBD client of raw bytes, with the numbers as NBD proto.md writes them, on a session without a socket. */
export class RawClient {
  readonly session: Session;
  #received: Buffer = Buffer.alloc(0);
  #leases: Lease[] = [];
  ended = false;
  /** Bytes that had been sent each time the session went over to TLS. */
  readonly secured: number[] = [];
  #sent = 0;
  /** False: the client takes nothing, and no reply ever leaves. */
  taking = true;

  /** The exports' devices are closed when the test ends. */
  constructor(exports: readonly Export[], tls?: TlsMode) {
    onTestFinished(async () => {
      for (const { device } of exports) await device.close();
    });
    this.session = new Session(
      exports,
      {
        send: (lease) => {
          if (this.ended) throw new Error('the session sent after its end');
          this.#leases.push(lease);
          this.#sent += lease.bytes.length;
          if (this.taking) this.take();
        },
        end: () => {
          if (this.ended) throw new Error('the session ended twice');
          this.ended = true;
        },
        startTls: () => this.secured.push(this.#sent),
      },
      new BufferPool(),
      tls,
    );
  }

  /** Bytes of replies that wait for the client to take them. */
  get waiting(): number {
    return this.#leases.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  take(): void {
    const leases = this.#leases;
    this.#leases = [];
    this.#received = Buffer.concat([this.#received, ...leases.map(({ bytes }) => bytes)]);
    for (const lease of leases) lease.release();
  }

  send(...parts: Uint8Array[]): void {
    this.session.receive(Buffer.concat(parts));
  }

  /** The next bytes from the server. */
  async read(size: number): Promise<Buffer> {
    const bytes = await this.peek(size);
    this.#received = this.#received.subarray(size);
    return bytes;
  }

  /** The next bytes from the server, to be read again. */
  async peek(size: number): Promise<Buffer> {
    for (let turns = 0; this.#received.length < size; turns++) {
      if (turns > 100_000) throw new Error(`only ${this.#received.length} of ${size} bytes came`);
      if (this.ended) throw new Error(`the session ended after ${this.#received.length} of ${size} bytes`);
      await turn();
    }
    return this.#received.subarray(0, size);
  }

  /** Waits until the session ends, and returns what came until then. */
  async end(): Promise<Buffer> {
    for (let turns = 0; !this.ended; turns++) {
      if (turns > 100_000) throw new Error('the session does not end');
      await turn();
    }
    return this.#received;
  }

  /** Takes the greeting and answers with client flags. */
  async greet(flags = 3): Promise<Buffer> {
    const greeting = await this.read(18);
    this.send(u32(flags));
    return greeting;
  }

  /** Sends an option and returns its replies up to the last. */
  async option(type: number, data: Uint8Array = Buffer.alloc(0)): Promise<OptionReply[]> {
    this.send(optionBytes(type, data));
    const replies: OptionReply[] = [];
    for (;;) {
      const header = await this.read(20);
      if (header.readBigUInt64BE(0) !== 0x3e889045565a9n) throw new Error('no option reply');
      if (header.readUInt32BE(8) !== type) throw new Error('a reply to another option');
      const reply = header.readUInt32BE(12);
      replies.push({ type: reply, data: await this.read(header.readUInt32BE(16)) });
      if (reply === 1 || reply >= 2 ** 31) return replies;
    }
  }

  /** As far as the transmission phase. */
  async go(style: Style = 'simple', name = '', context = true, tls = false): Promise<void> {
    await this.greet();
    if (tls) await this.option(5);
    if (style === 'structured') await this.option(8);
    if (style === 'extended') await this.option(11);
    if (style !== 'simple' && context) await this.option(10, contexts(name, 'base:allocation'));
    const replies = await this.option(7, info(name));
    if (replies.at(-1)?.type !== 1) throw new Error('GO was refused');
  }

  /** A simple reply. */
  async simple(size = 0): Promise<{ error: number; cookie: bigint; data: Buffer }> {
    const header = await this.read(16);
    if (header.readUInt32BE(0) !== 0x67446698) throw new Error('no simple reply');
    const error = header.readUInt32BE(4);
    return { error, cookie: header.readBigUInt64BE(8), data: await this.read(error === 0 ? size : 0) };
  }

  /** A structured reply chunk. */
  async chunk(): Promise<{ flags: number; type: number; cookie: bigint; data: Buffer }> {
    const header = await this.read(20);
    if (header.readUInt32BE(0) !== 0x668e33ef) throw new Error('no structured reply');
    const data = await this.read(header.readUInt32BE(16));
    return { flags: header.readUInt16BE(4), type: header.readUInt16BE(6), cookie: header.readBigUInt64BE(8), data };
  }

  /** An extended reply chunk. */
  async extendedChunk(): Promise<{ flags: number; type: number; cookie: bigint; offset: bigint; data: Buffer }> {
    const header = await this.read(32);
    if (header.readUInt32BE(0) !== 0x6e8a278c) throw new Error('no extended reply');
    const data = await this.read(Number(header.readBigUInt64BE(24)));
    return {
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      offset: header.readBigUInt64BE(16),
      data,
    };
  }
}

export type Style = 'simple' | 'structured' | 'extended';

export interface OptionReply {
  readonly type: number;
  readonly data: Buffer;
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

const string = (text: string) => Buffer.concat([u32(Buffer.byteLength(text)), Buffer.from(text)]);

export function optionBytes(type: number, data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(type), u32(data.length), data]);
}

/** The data of INFO and GO. */
export function info(name: string, ...wanted: number[]): Buffer {
  return Buffer.concat([string(name), u16(wanted.length), ...wanted.map(u16)]);
}

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function contexts(name: string, ...queries: string[]): Buffer {
  return Buffer.concat([string(name), u32(queries.length), ...queries.map(string)]);
}

export interface RawRequest {
  type: number;
  flags?: number;
  cookie?: bigint;
  offset?: bigint;
  length?: number | bigint;
}

export function request({ type, flags = 0, cookie = 7n, offset = 0n, length = 0 }: RawRequest): Buffer {
  return Buffer.concat([u32(0x25609513), u16(flags), u16(type), u64(cookie), u64(offset), u32(Number(length))]);
}

export function extended({ type, flags = 0, cookie = 7n, offset = 0n, length = 0 }: RawRequest): Buffer {
  return Buffer.concat([u32(0x21e41c71), u16(flags), u16(type), u64(cookie), u64(offset), u64(BigInt(length))]);
}

export const READ = 0;
export const WRITE = 1;
export const DISC = 2;
export const FLUSH = 3;
export const TRIM = 4;
export const CACHE = 5;
export const WRITE_ZEROES = 6;
export const BLOCK_STATUS = 7;

export const EPERM = 1;
export const EINVAL = 22;
export const ENOSPC = 28;
export const EOVERFLOW = 75;
export const ENOTSUP = 95;
export const ESHUTDOWN = 108;

export const MiB: number = 1 << 20;

/** A client of one export in memory. */
export function clientOf(size: bigint | number = MiB, facts: Partial<Export> = {}, tls?: TlsMode): RawClient {
  const device = memoryDevice(BigInt(size));
  return new RawClient([{ name: '', description: 'a disk in memory', device, ...facts }], tls);
}
