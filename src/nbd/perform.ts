import { min, toNumber } from '../binary/convert.js';
import { viewOf } from '../binary/layout.js';
import { type BlockDevice, done, type HostFile } from '../device/block-device.js';
import { type Extent, inWholeBlocks } from '../device/extent.js';
import { DiskError } from '../error/disk-error.js';
import { isAtHand } from '../host/positioned.js';
import { seekHole } from '../host/sparse.js';
import type { BufferPool, FilePart, Lease } from './buffer-pool.js';
import { maximumPayload } from './export.js';
import { allocationContextId } from './handshake.js';
import { command, commandFlags, type ErrorName, errorValue, length32, statusPayload } from './on-wire.js';
import type { Replies } from './replies.js';
import type { Request } from './request.js';
import type { Access, RequestRing } from './request-ring.js';

/** Bytes: a shorter read costs less than the question where its holes are. */
const holeSearch = 32 << 10;
/** Bytes: a shorter read is copied, which costs less than sending it straight from its file. */
const straightFrom = 64 << 10;
/** Bytes: a shorter hole is sent as zeros. */
const smallestHole = 4096n;
/** Descriptors of one block status reply. */
export const mostDescriptors = 16 << 10;
/** Bytes: what a client may have cached by one request, and the pieces that it is read in. */
const cacheLimit = BigInt(maximumPayload);
const cachePiece = 256 << 10;

/** Carries out requests that have been judged, on a device, and encodes their replies. */
export class Performer {
  /** Where the device's bytes lie, however they may be fetched from there. */
  readonly #file: HostFile | undefined;

  /**
   * @param takesFiles whether a reply's data may come as a part of a host file
   * @param requests where those for bytes are noted
   */
  constructor(
    private readonly device: BlockDevice,
    private readonly replies: Replies,
    private readonly pool: BufferPool,
    private readonly takesFiles: boolean,
    private readonly requests?: RequestRing | undefined,
  ) {
    const { hostFile, guardedFile } = device.facts;
    this.#file = hostFile ?? guardedFile?.file;
  }

  /**
   * The reply, at once where the device needs no time; a device that fails makes that an error reply.
   *
   * @param payload left alone until the promise settles
   */
  perform(request: Request, payload: Uint8Array): Lease | Promise<Lease> {
    if (this.requests !== undefined) note(request, this.requests);
    try {
      const { type, length } = request;
      if (type === command.READ && length > 0n) return this.#read(request);
      if (type === command.WRITE) return this.#write(request, payload);
    } catch (error) {
      return this.#failed(request, error);
    }
    return this.#carryOut(request, payload).then(
      (reply) => reply ?? this.replies.done(request),
      (error: unknown) => this.#failed(request, error),
    );
  }

  #write(request: Request, payload: Uint8Array): Lease | Promise<Lease> {
    const writing = this.device.write(payload, request.offset, { fua: commandFlags.has(request.flags, 'FUA') });
    if (writing === done) return this.replies.done(request);
    return writing.then(
      () => this.replies.done(request),
      (error: unknown) => this.#failed(request, error),
    );
  }

  /** Undefined: done, with nothing to tell. */
  async #carryOut(request: Request, payload: Uint8Array): Promise<Lease | undefined> {
    const { type, flags, offset, length } = request;
    const fua = commandFlags.has(flags, 'FUA');
    switch (type) {
      case command.WRITE_ZEROES: {
        const mayTrim = !commandFlags.has(flags, 'NO_HOLE');
        await this.device.zero(offset, length, { fua, mayTrim, fast: commandFlags.has(flags, 'FAST_ZERO') });
        return undefined;
      }
      case command.TRIM:
        await this.#trim(offset, length, fua);
        return undefined;
      case command.FLUSH:
        await this.device.flush();
        return undefined;
      case command.CACHE:
        await this.#cache(offset, length);
        return undefined;
      case command.BLOCK_STATUS:
        return this.#status(request, payload);
      default:
        return undefined;
    }
  }

  #read(request: Request): Lease | Promise<Lease> {
    const length = toNumber(request.length);
    const { replies } = this;
    if (length >= holeSearch && this.#mayHaveHoles(request)) return this.#readAround(request);
    const file = length >= straightFrom ? this.#partAtHand(request.offset, length) : undefined;
    if (file !== undefined) return this.#sendFrom(request, file);
    const lease = this.pool.take(replies.dataRoom + length);
    const reading = this.device.read(lease.bytes.subarray(replies.dataRoom), request.offset);
    if (reading === done) {
      replies.data(request, lease);
      return lease;
    }
    return reading.then(
      () => {
        replies.data(request, lease);
        return lease;
      },
      (error: unknown) => {
        lease.release();
        return this.#failed(request, error);
      },
    );
  }

  #mayHaveHoles({ flags, offset, length }: Request): boolean {
    if (!this.device.facts.extents || this.replies.style === 'simple' || commandFlags.has(flags, 'DF')) return false;
    if (this.#file === undefined || !this.#fileHolds(offset, length)) return true;
    const start = this.#file.offset + offset;
    const hole = seekHole(this.#file.fd, start, this.device.name);
    return hole === undefined || hole < start + length;
  }

  #fileHolds(offset: bigint, length: bigint): boolean {
    return this.device.facts.guardedFile?.holds?.(offset, length) ?? true;
  }

  /** The part of the host file, if nobody has to wait for a disk for it. */
  #partAtHand(offset: bigint, length: number): FilePart | undefined {
    if (!this.takesFiles || this.#file === undefined || !this.#fileHolds(offset, BigInt(length))) return undefined;
    const { fd, offset: start, kind } = this.#file;
    const part = { fd, offset: start + offset, length };
    return isAtHand(fd, part.offset, length, kind === 'memory') ? part : undefined;
  }

  #sendFrom(request: Request, part: FilePart): Lease | Promise<Lease> {
    const { guardedFile } = this.device.facts;
    const admitted = guardedFile?.admit(request.offset, request.length, {}) ?? done;
    if (admitted === done) return this.replies.dataFrom(request, part);
    return admitted.then(
      () => this.replies.dataFrom(request, part),
      (error: unknown) => this.#failed(request, error),
    );
  }

  /** Reads what is data, and tells where the holes are. */
  async #readAround(request: Request): Promise<Lease> {
    let lease: Lease | undefined;
    try {
      const extents = await this.#dataAndHoles(request.offset, request.length);
      const reply = this.replies.pieces(request, extents);
      lease = reply.lease;
      for (const { target, offset } of reply.parts) await this.device.read(target, offset);
      return lease;
    } catch (error) {
      lease?.release();
      return this.#failed(request, error);
    }
  }

  async #dataAndHoles(offset: bigint, length: bigint): Promise<Extent[]> {
    const found: Extent[] = [];
    for await (const extent of this.device.extents(offset, length)) {
      const zero = extent.zero && extent.length >= smallestHole;
      const before = found.at(-1);
      if (before !== undefined && before.zero === zero) {
        found[found.length - 1] = { ...before, length: before.length + extent.length };
      } else found.push({ ...extent, zero });
    }
    return found;
  }

  /** A hint: where the host cannot, nothing is trimmed, and that is well. */
  async #trim(offset: bigint, length: bigint, fua: boolean): Promise<void> {
    try {
      await this.device.trim(offset, length, { fua });
    } catch (error) {
      if (!(error instanceof DiskError && error.code === 'UNSUPPORTED')) throw error;
      if (fua) await this.device.flush();
    }
  }

  async #cache(offset: bigint, length: bigint): Promise<void> {
    const end = offset + min(length, cacheLimit);
    const lease = this.pool.take(cachePiece);
    try {
      for (let at = offset; at < end; at += BigInt(cachePiece)) {
        await this.device.read(lease.bytes.subarray(0, toNumber(min(BigInt(cachePiece), end - at))), at);
      }
    } finally {
      lease.release();
    }
  }

  async #status(request: Request, payload: Uint8Array): Promise<Lease> {
    const { offset, flags } = request;
    let { length } = request;
    if (commandFlags.has(flags, 'PAYLOAD_LEN')) {
      const view = viewOf(payload);
      length = statusPayload.at(view).length;
      const id = length32.at(view, statusPayload.size).length;
      if (id !== allocationContextId || length === 0n || offset + length > this.device.facts.size) {
        throw new DiskError('USAGE', 'block status of an unknown metadata context or range', { errno: 'EINVAL' });
      }
    }
    const most = commandFlags.has(flags, 'REQ_ONE') ? 1 : mostDescriptors;
    const extents: Extent[] = [];
    for await (const extent of this.#wholeExtents(offset, length)) {
      extents.push(extent);
      if (extents.length === most) break;
    }
    return this.replies.status(request, extents);
  }

  /** "MUST use descriptor lengths that are an integer multiple of any advertised minimum block size" */
  #wholeExtents(offset: bigint, length: bigint): AsyncGenerator<Extent> {
    const { size, blockSize } = this.device.facts;
    const extents = this.device.extents(offset, length);
    return blockSize.minimum === 1 ? extents : inWholeBlocks(extents, BigInt(blockSize.minimum), size);
  }

  #failed(request: Request, error: unknown): Lease {
    const name = errorNameOf(error, request);
    // The message of the error itself names files of the host.
    return this.replies.error(request, name, `the device failed: ${name}`);
  }
}

/** What a client is told of bytes without having them, or has cached, is no access to them. */
const accesses: Readonly<Record<number, Access>> = {
  [command.READ]: 'read',
  [command.WRITE]: 'write',
  [command.WRITE_ZEROES]: 'write',
  [command.TRIM]: 'write',
};

function note({ type, offset, length }: Request, requests: RequestRing): void {
  const access = accesses[type];
  if (access !== undefined && length > 0n) requests.note(access, Number(offset), Number(length));
}

const aliases: Readonly<Record<string, ErrorName>> = {
  EACCES: 'EPERM',
  EROFS: 'EPERM',
  EDQUOT: 'ENOSPC',
  EFBIG: 'ENOSPC',
};

function isErrorName(name: string): name is ErrorName {
  return Object.hasOwn(errorValue, name);
}

/** The protocol's word for a failure of the device. */
export function errorNameOf(error: unknown, { type, flags }: Pick<Request, 'type' | 'flags'>): ErrorName {
  if (!(error instanceof DiskError)) return 'EIO';
  if (error.code === 'READ_ONLY') return 'EPERM';
  if (error.code === 'UNSUPPORTED') {
    // ENOTSUP is kept for a fast zero that would not be fast.
    return type === command.WRITE_ZEROES && commandFlags.has(flags, 'FAST_ZERO') ? 'ENOTSUP' : 'EINVAL';
  }
  const { errno } = error;
  if (errno === undefined) return 'EIO';
  const name = aliases[errno] ?? errno;
  return isErrorName(name) && name !== 'EOVERFLOW' && name !== 'ENOTSUP' ? name : 'EIO';
}
