import type { Socket } from 'node:net';
import { min, roundDown, roundUp } from '../../binary/convert.js';
import {
  BlockDevice,
  type DeviceFacts,
  type RequestOptions,
  type WriteOptions,
  type ZeroOptions,
} from '../../device/block-device.js';
import type { Bytes, Extent } from '../../device/extent.js';
import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import { command, commandFlags, state, transmissionFlags } from '../on-wire.js';
import { type Ask, ClientConnection } from './connection.js';
import { type NbdTarget, parseNbdUri } from './parse-uri.js';

/** Bytes: the longest range without extended headers, a multiple of every block. */
const longestRange = 2n ** 31n;
/** Bytes: a longer payload gains nothing. */
const longestPayload = 32 << 20;
const mostConnections = 4;
/** Requests under way on each connection before another one is opened. */
const busy = 4;

const { FUA, NO_HOLE, FAST_ZERO } = commandFlags.mask;

export interface ConnectOptions {
  readonly access: 'read' | 'write';
  readonly signal?: AbortSignal | undefined;
}

/** A disk that an NBD server has. Where the server allows it, over several connections. */
export class NbdDevice extends BlockDevice {
  readonly facts: DeviceFacts;
  readonly #connections: ClientConnection[];
  readonly #extended: boolean;
  readonly #multiple: boolean;
  #opening: Promise<void> | undefined;
  #closed = false;

  private constructor(
    readonly name: string,
    /** Undefined: there is nobody to connect to a second time. */
    private readonly target: NbdTarget | undefined,
    first: ClientConnection,
    access: 'read' | 'write',
  ) {
    super();
    const { size, flags, style, allocationId, blockSize } = first.agreed;
    const has = (flag: Parameters<typeof transmissionFlags.has>[1]) => transmissionFlags.has(flags, flag);
    const writable = access === 'write' && !has('READ_ONLY');
    const flush = has('SEND_FLUSH');
    this.#connections = [first];
    this.#extended = style === 'extended';
    this.#multiple = has('CAN_MULTI_CONN');
    this.facts = Object.freeze({
      size,
      writable,
      flush,
      trim: writable && has('SEND_TRIM'),
      zero: has('SEND_WRITE_ZEROES') ? 'native' : 'emulated',
      fastZero: has('SEND_FAST_ZERO'),
      fua: has('SEND_FUA') ? 'native' : flush ? 'emulated' : 'none',
      extents: allocationId !== undefined,
      blockSize: Object.freeze({ ...blockSize, maximum: Math.min(blockSize.maximum, longestPayload) }),
    });
  }

  /**
   * @param uri `nbd://host:port/export` or `nbd+unix:///export?socket=PATH`
   * @throws {DiskError} USAGE for a wrong URI; NOT_FOUND; READ_ONLY; UNSUPPORTED; PROTOCOL; IO; CANCELLED
   */
  static async connect(uri: string, { access, signal }: ConnectOptions): Promise<NbdDevice> {
    const target = parseNbdUri(uri);
    return await NbdDevice.#of(uri, target, await ClientConnection.open(target, uri, signal), access);
  }

  /**
   * The default export of the server at the other end of a socket, which belongs to the device from now on.
   *
   * @param name of the device, in every error
   * @param patience milliseconds for the server to answer
   * @throws {DiskError} as {@link connect}
   */
  static async over(
    socket: Socket,
    name: string,
    { access, signal, patience }: ConnectOptions & { readonly patience?: number },
  ): Promise<NbdDevice> {
    const connection = await ClientConnection.over(socket, { exportName: '', server: name, signal, patience });
    return await NbdDevice.#of(name, undefined, connection, access);
  }

  static async #of(
    name: string,
    target: NbdTarget | undefined,
    connection: ClientConnection,
    access: ConnectOptions['access'],
  ): Promise<NbdDevice> {
    if (access === 'write' && transmissionFlags.has(connection.agreed.flags, 'READ_ONLY')) {
      await connection.close();
      throw new DiskError('READ_ONLY', `${name}: the server serves it read-only`, { device: name, errno: 'EROFS' });
    }
    return new NbdDevice(name, target, connection, access);
  }

  protected async doRead(into: Uint8Array, offset: Bytes, { signal }: RequestOptions): Promise<void> {
    await this.#ask('read', { type: command.READ, offset, length: BigInt(into.length), into, signal });
  }

  protected async doWrite(from: Uint8Array, offset: Bytes, { signal, fua }: WriteOptions): Promise<void> {
    const flags = fua === true ? FUA : 0;
    await this.#ask('write', {
      type: command.WRITE,
      flags,
      offset,
      length: BigInt(from.length),
      payload: from,
      signal,
    });
  }

  protected async doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    const { signal, fua, mayTrim, fast } = options;
    const flags = (fua === true ? FUA : 0) | (mayTrim === true ? 0 : NO_HOLE) | (fast === true ? FAST_ZERO : 0);
    await this.#inRanges(offset, length, async (start, size) => {
      await this.#ask('zero', { type: command.WRITE_ZEROES, flags, offset: start, length: size, signal });
    });
  }

  protected async doTrim(offset: Bytes, length: Bytes, { signal, fua }: WriteOptions): Promise<void> {
    const flags = fua === true ? FUA : 0;
    await this.#inRanges(offset, length, async (start, size) => {
      await this.#ask('trim', { type: command.TRIM, flags, offset: start, length: size, signal });
    });
  }

  protected async doFlush({ signal }: RequestOptions): Promise<void> {
    await this.#ask('flush', { type: command.FLUSH, signal });
  }

  protected async doExtents(offset: Bytes, length: Bytes, { signal }: RequestOptions): Promise<readonly Extent[]> {
    const { size, blockSize } = this.facts;
    const block = BigInt(blockSize.minimum);
    const start = roundDown(offset, block);
    const end = min(roundUp(offset + length, block), size);
    const range = this.#extended ? end - start : min(end - start, longestRange);
    const found = await this.#ask('block status', { type: command.BLOCK_STATUS, offset: start, length: range, signal });
    const extents: Extent[] = [];
    let at = start;
    for (const { length: each, status } of found) {
      const zero = (status & state.mask.ZERO) !== 0;
      if (at + each > offset)
        extents.push({ offset: at, length: each, allocated: (status & state.mask.HOLE) === 0, zero });
      at += each;
    }
    return extents;
  }

  protected doPeek(): undefined {
    return undefined;
  }

  protected async doClose(): Promise<void> {
    this.#closed = true;
    await this.#opening;
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  #ask(operation: string, ask: Ask) {
    const { offset = 0n, length = 0n } = ask;
    return this.#leastBusy().ask(`${operation} of ${length} bytes at byte ${hex(offset)} of ${this.name}`, ask);
  }

  /** One that has failed is used again only when there is no other: it tells why. */
  #leastBusy(): ClientConnection {
    const alive = this.#connections.filter(({ failed }) => !failed);
    const [idlest] = alive.toSorted((a, b) => a.load - b.load);
    const chosen = idlest ?? this.#connections[0];
    if (chosen === undefined) throw new DiskError('IO', `${this.name}: closed`, { errno: 'EBADF' });
    if (chosen.load >= busy) this.#openAnother();
    return chosen;
  }

  #openAnother(): void {
    const { target } = this;
    if (
      target === undefined ||
      !this.#multiple ||
      this.#opening !== undefined ||
      this.#connections.length >= mostConnections
    )
      return;
    this.#opening = ClientConnection.open(target, this.name, undefined).then(
      async (connection) => {
        const [first] = this.#connections;
        const { size, style } = connection.agreed;
        if (this.#closed || size !== this.facts.size || style !== first?.agreed.style) return await connection.close();
        this.#connections.push(connection);
        this.#opening = undefined;
      },
      // The server has no more to spare: those that there are do the work.
      () => {},
    );
  }

  async #inRanges(offset: Bytes, length: Bytes, each: (offset: Bytes, length: Bytes) => Promise<void>): Promise<void> {
    const step = this.#extended ? length : longestRange;
    for (let at = offset; at < offset + length; at += step) await each(at, min(step, offset + length - at));
  }
}
