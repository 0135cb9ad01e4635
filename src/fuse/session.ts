import { min } from '../binary/convert.js';
import { done } from '../device/block-device.js';
import { type Owner, putAttributes, putFolderAttributes } from './attributes.js';
import {
  EINVAL,
  EIO,
  EISDIR,
  ENOENT,
  ENOSPC,
  ENOSYS,
  ENOTDIR,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  EROFS,
  errnoFor,
  Refusal,
} from './failure.js';
import * as wire from './on-wire.js';
import type { RequestBuffer } from './request-buffer.js';
import type { ShownFile } from './shown-file.js';
import type { FolderNode, Node, Tree } from './tree.js';

/** Seconds that the kernel may believe a name: none ever changes. */
const nameTime = 86_400n;

/** What would change the tree. */
const changes: ReadonlySet<number> = new Set(Object.values(wire.changingOpcode));

/** The header of a request, read before its reply is written over it. */
interface Request {
  readonly opcode: number;
  readonly unique: bigint;
  readonly node: Node<ShownFile> | undefined;
  readonly buffer: RequestBuffer;
}

/** Answers the requests of one mount. Several threads may each have one, on the same descriptor. */
export class Session {
  /** Reads that are under way, by their number. */
  readonly #reads = new Map<bigint, AbortController>();
  #closed = false;

  /**
   * @param fd of /dev/fuse
   * @param interruptible whether a request can be given up that is being answered: not where others are read only after it
   */
  constructor(
    private readonly fd: number,
    private readonly tree: Tree<ShownFile>,
    private readonly owner: Owner,
    private readonly interruptible: boolean,
  ) {}

  /**
   * Answers the request that a buffer holds.
   *
   * @returns {@link done} itself when that has happened; else the buffer is to be left alone until the promise settles. It
   * never rejects
   */
  answer(buffer: RequestBuffer): Promise<void> {
    const { opcode, unique, nodeid } = wire.requestHeader.at(buffer.view);
    const request: Request = { opcode, unique, node: this.tree.get(nodeid), buffer };
    try {
      if (opcode === wire.opcode.READ) return this.#read(request);
      if (opcode === wire.opcode.WRITE) return this.#write(request);
      if (opcode === wire.opcode.FORGET || opcode === wire.opcode.BATCH_FORGET) return done;
      if (opcode === wire.opcode.INTERRUPT) {
        // One that is not known has been answered already.
        this.#reads.get(wire.interruptRequest.at(buffer.body).unique)?.abort();
        return done;
      }
      return this.#carryOut(request).then(
        (length) => this.#reply(request, length),
        (error: unknown) => this.#failed(request, error),
      );
    } catch (error) {
      this.#failed(request, error);
      return done;
    }
  }

  /** Nothing is written to the descriptor any more, which may soon be another file's; reads are given up. */
  close(): void {
    this.#closed = true;
    for (const abort of this.#reads.values()) abort.abort();
  }

  #reply({ buffer, unique }: Request, length: number): void {
    if (!this.#closed) buffer.reply(this.fd, unique, length);
  }

  #failed({ buffer, unique }: Request, error: unknown): void {
    if (!this.#closed) buffer.refuse(this.fd, unique, errnoFor(error));
  }

  #read(request: Request): Promise<void> {
    const { buffer, unique } = request;
    const file = fileOf(request);
    const { offset, size } = wire.readRequest.at(buffer.body);
    const length = Number(file.inside(offset, BigInt(size)));
    const abort = this.interruptible ? new AbortController() : undefined;
    const reading = file.read(buffer.content.subarray(0, length), offset, { signal: abort?.signal });
    if (reading === done) {
      this.#reply(request, length);
      return done;
    }
    if (abort !== undefined) this.#reads.set(unique, abort);
    const ended = () => this.#reads.delete(unique);
    return reading.then(
      () => {
        ended();
        this.#reply(request, length);
      },
      (error: unknown) => {
        ended();
        this.#failed(request, error);
      },
    );
  }

  /** What passes the end is left out, as a disk does. It is never given up half-way: what it would leave is anybody's guess. */
  #write(request: Request): Promise<void> {
    const { buffer } = request;
    const file = fileOf(request);
    const { offset, size } = wire.writeRequest.at(buffer.body);
    if (!file.writable) throw new Refusal(EROFS);
    const length = Number(file.inside(offset, BigInt(size)));
    if (length === 0 && size > 0) throw new Refusal(ENOSPC);
    const writing = file.write(buffer.content.subarray(0, length), offset);
    const reply = () => {
      wire.writeReply.put(buffer.contentView, { size: length });
      this.#reply(request, wire.writeReply.size);
    };
    if (writing === done) {
      reply();
      return done;
    }
    return writing.then(reply, (error: unknown) => this.#failed(request, error));
  }

  /** Carries out whatever moves no data. Returns the bytes of the reply's content. */
  async #carryOut(request: Request): Promise<number> {
    const { opcode, buffer } = request;
    const content = buffer.contentView;
    switch (opcode) {
      case wire.opcode.LOOKUP:
        return await this.#lookUp(request, content);
      case wire.opcode.GETATTR:
        return await this.#attributes(request, content);
      case wire.opcode.SETATTR:
        return await this.#setAttributes(request, content);
      case wire.opcode.OPEN:
        return this.#open(request, content);
      case wire.opcode.STATFS:
        return this.#statfs(content);
      case wire.opcode.READDIR:
        return this.#list(request, content);
      case wire.opcode.FSYNC:
        await fileOf(request).flush();
        return 0;
      case wire.opcode.FALLOCATE:
        return await this.#allocate(request);
      case wire.opcode.LSEEK:
        return await this.#seek(request, content);
      case wire.opcode.RELEASE:
      case wire.opcode.RELEASEDIR:
      case wire.opcode.FSYNCDIR:
      case wire.opcode.DESTROY:
        return 0;
      default:
        // ENOSYS also says that there is no need to ask once more.
        throw new Refusal(changes.has(opcode) ? EPERM : ENOSYS);
    }
  }

  async #lookUp(request: Request, content: DataView): Promise<number> {
    const { buffer } = request;
    const { len } = wire.requestHeader.at(buffer.view);
    const name = Buffer.from(buffer.request.subarray(wire.requestHeader.size, len - 1)).toString();
    const found = folderOf(request).entries.get(name);
    if (found === undefined) throw new Refusal(ENOENT);
    await this.#putAttributes(found, content, wire.entryReply.size);
    wire.entryReply.put(content, {
      nodeid: found.id,
      generation: 0n,
      entry_valid: nameTime,
      attr_valid: 0n,
      entry_valid_nsec: 0,
      attr_valid_nsec: 0,
    });
    return wire.entryReply.size + wire.attributes.size;
  }

  async #attributes({ node }: Request, content: DataView): Promise<number> {
    if (node === undefined) throw new Refusal(ENOENT);
    await this.#putAttributes(node, content, wire.attributesReply.size);
    // Not believed for any time: the room that a file takes changes without the kernel's knowing.
    wire.attributesReply.put(content, { attr_valid: 0n, attr_valid_nsec: 0 });
    return wire.attributesReply.size + wire.attributes.size;
  }

  async #putAttributes(node: Node<ShownFile>, content: DataView, at: number): Promise<void> {
    if (node.kind === 'folder') putFolderAttributes(content, at, node, this.owner);
    else putAttributes(content, at, node, await node.file.usage(), this.owner);
  }

  /** A disk keeps its size, and its owner and mode are ours to say. */
  async #setAttributes(request: Request, content: DataView): Promise<number> {
    const { valid, size } = wire.setAttributesRequest.at(request.buffer.body);
    const { SIZE } = wire.attributeFlags.mask;
    if ((valid & SIZE) === 0 || size !== fileOf(request).size) throw new Refusal(EPERM);
    const { MODE, UID, GID } = wire.attributeFlags.mask;
    if ((valid & (MODE | UID | GID)) !== 0) throw new Refusal(EPERM);
    return await this.#attributes(request, content);
  }

  #open(request: Request, content: DataView): number {
    fileOf(request);
    wire.openReply.put(content, {
      fh: 0n,
      // Every read sees what was written through another file of the same disk, and nothing is cached twice.
      open_flags:
        wire.openFlags.mask.DIRECT_IO | wire.openFlags.mask.NOFLUSH | wire.openFlags.mask.PARALLEL_DIRECT_WRITES,
    });
    new Uint8Array(content.buffer, content.byteOffset + 12, 4).fill(0);
    return wire.openReply.size;
  }

  #statfs(content: DataView): number {
    const files = this.tree.files();
    const frsize = 4096;
    const size = files.reduce((sum, file) => sum + file.size, 0n);
    new Uint8Array(content.buffer, content.byteOffset, wire.statfsReply.size).fill(0);
    wire.statfsReply.put(content, {
      blocks: min(size, 2n ** 63n - 1n) / BigInt(frsize),
      files: BigInt(files.length),
      bsize: frsize,
      namelen: 255,
      frsize,
    });
    return wire.statfsReply.size;
  }

  #list(request: Request, content: DataView): number {
    const folder = folderOf(request);
    const { offset, size } = wire.readRequest.at(request.buffer.body);
    const entries: [name: string, id: bigint, type: number][] = [
      ['.', folder.id, wire.DT_DIR],
      ['..', folder.parent, wire.DT_DIR],
    ];
    for (const [name, { id, kind }] of folder.entries) {
      entries.push([name, id, kind === 'folder' ? wire.DT_DIR : wire.DT_REG]);
    }
    let length = 0;
    for (let at = Number(offset); at < entries.length; at++) {
      const [name, ino, type] = entries[at] ?? ['', 0n, 0];
      const bytes = Buffer.from(name);
      const next = length + Math.ceil((wire.directoryEntry.size + bytes.length) / 8) * 8;
      if (next > size) break;
      request.buffer.content.fill(0, length, next);
      wire.directoryEntry.put(content, { ino, off: BigInt(at + 1), namelen: bytes.length, type }, length);
      request.buffer.content.set(bytes, length + wire.directoryEntry.size);
      length = next;
    }
    return length;
  }

  /** Punches holes and zeroes ranges. What lies behind the end is left out, and cannot be made to be there. */
  async #allocate(request: Request): Promise<number> {
    const file = fileOf(request);
    const { offset, length, mode } = wire.fallocateRequest.at(request.buffer.body);
    const { KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE } = wire.fallocateFlags.mask;
    if (!file.writable) throw new Refusal(EROFS);
    const what = mode & ~KEEP_SIZE;
    if (what !== PUNCH_HOLE && what !== ZERO_RANGE) throw new Refusal(EOPNOTSUPP);
    const inside = file.inside(offset, length);
    if (inside < length && (mode & KEEP_SIZE) === 0) throw new Refusal(ENOSPC);
    if (inside > 0n) await file.clear(offset, inside, what === ZERO_RANGE);
    return 0;
  }

  async #seek(request: Request, content: DataView): Promise<number> {
    const { buffer, unique } = request;
    const file = fileOf(request);
    const { offset, whence } = wire.seekRequest.at(buffer.body);
    if (whence !== wire.seekData && whence !== wire.seekHole) throw new Refusal(EINVAL);
    const abort = new AbortController();
    this.#reads.set(unique, abort);
    try {
      const options = { signal: abort.signal };
      const found = await file.seek(offset, whence === wire.seekData ? 'data' : 'hole', options);
      if (found === undefined) throw new Refusal(ENXIO);
      wire.seekReply.put(content, { offset: found });
      return wire.seekReply.size;
    } finally {
      this.#reads.delete(unique);
    }
  }
}

function fileOf({ node }: Request): ShownFile {
  if (node?.kind === 'file') return node.file;
  throw new Refusal(node === undefined ? EIO : EISDIR);
}

function folderOf({ node }: Request): FolderNode<ShownFile> {
  if (node?.kind === 'folder') return node;
  throw new Refusal(node === undefined ? EIO : ENOTDIR);
}
