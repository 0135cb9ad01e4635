import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { DiskError } from '../error/disk-error.js';
import { closeFile } from './open-file.js';
import { readAt, writeAt } from './positioned.js';
import { Folder } from './tmpfile.js';

/** Bytes. */
const chunkSize = 1 << 20;

/** Text that is too much for memory, put aside until it is read again: in a file without a name, in the folder for such. */
export class Spool implements AsyncDisposable {
  readonly #name: string;
  #waiting: string[] = [];
  #waitingLength = 0;
  /** Bytes that have been written. */
  #size = 0;
  #closing: Promise<void> | undefined;

  private constructor(
    private readonly fd: number,
    folder: string,
  ) {
    this.#name = `a temporary file in ${folder}`;
  }

  /** @throws {DiskError} as the system refuses it: IO, NOT_FOUND, READ_ONLY */
  static async open(): Promise<Spool> {
    await using folder = await Folder.open(tmpdir());
    return new Spool((await folder.createNameless()) ?? (await createAndUnlink(folder)), folder.path);
  }

  /** Puts text behind what is there. */
  async append(text: string): Promise<void> {
    this.#waiting.push(text);
    this.#waitingLength += text.length;
    if (this.#waitingLength >= chunkSize) await this.#write();
  }

  /** All of it, from the start. */
  async *read(): AsyncGenerator<Buffer, void, undefined> {
    await this.#write();
    for (let at = 0; at < this.#size; at += chunkSize) {
      const chunk = Buffer.alloc(Math.min(chunkSize, this.#size - at));
      const got = await readAt(this.fd, chunk, BigInt(at), this.#name);
      if (got < chunk.length) throw new DiskError('IO', `${this.#name} was cut short`, { errno: 'EIO' });
      yield chunk;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= closeFile(this.fd);
    return this.#closing;
  }

  async #write(): Promise<void> {
    const bytes = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#waitingLength = 0;
    await writeAt(this.fd, bytes, BigInt(this.#size), this.#name);
    this.#size += bytes.length;
  }
}

/** Where the filesystem knows no files without a name. */
async function createAndUnlink(folder: Folder): Promise<number> {
  const name = `disktool-${randomUUID()}`;
  const fd = await folder.create(name);
  if (fd === undefined) throw new DiskError('IO', `${folder.path}/${name} is there already`, { errno: 'EEXIST' });
  try {
    await folder.remove(name);
    return fd;
  } catch (error) {
    await closeFile(fd);
    throw error;
  }
}
