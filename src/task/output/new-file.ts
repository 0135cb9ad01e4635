import { close, fsync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { DiskError } from '../../error/disk-error.js';
import { DirectWrites } from '../../host/direct-write.js';
import { wrapSystemError } from '../../host/errno.js';
import { call } from '../../host/libc.js';
import { writeAt } from '../../host/positioned.js';
import { startWriteback } from '../../host/sparse.js';
import { Folder } from '../../host/tmpfile.js';
import { type Attributes, applyAttributes } from './attributes.js';
import type { Output } from './output.js';

const closeFd = promisify(close);
const syncFd = promisify(fsync);

/** Bytes: how much is written to the page cache before the disk is told to begin. */
const writebackStep = 8 << 20;
/** How many temporary names are tried; those that are taken were left by processes with our number. */
const attempts = 100;

export interface NewFileOptions {
  readonly name: string;
  /** Bytes: what its length will be. */
  readonly size: bigint;
  /** A file that has the name already is replaced. */
  readonly replace: boolean;
  readonly attributes?: Attributes | undefined;
  readonly onWarning: (message: string) => void;
}

/**
 * Tells of a disk that its format has made longer.
 *
 * @param diskSize bytes of the disk in the image
 */
export function warnOfRounding({ name, size, onWarning }: NewFileOptions, format: string, diskSize: bigint): void {
  if (diskSize === size) return;
  onWarning(`${name}: ${format} counts sectors of 512 bytes: ${diskSize - size} zeros follow the disk`);
}

/**
 * A file that has its name only once it is whole and on the disk: nameless until then where the filesystem knows such
 * files, so that even a kill leaves nothing; else under a name of its own in the same folder.
 */
export class NewFile implements Output {
  readonly blank = true;
  readonly ordered = false;
  readonly name: string;
  #open = true;
  #written = 0n;
  #unstarted = 0;
  #writeback: Promise<void> = Promise.resolve();
  #writingBack = false;

  private constructor(
    private readonly folder: Folder,
    private readonly finalName: string,
    readonly fd: number,
    private readonly direct: DirectWrites,
    /** Of a file that could not be nameless. */
    private temporaryName: string | undefined,
    private readonly options: NewFileOptions,
  ) {
    this.name = options.name;
  }

  /**
   * Makes an image of a disk in a new file.
   *
   * @param options `size`: bytes of the disk
   * @param make makes it in the empty file, which is given up if that fails
   * @throws {DiskError} as {@link create} and `make`
   */
  static async createImage<Image>(
    path: string,
    options: NewFileOptions,
    make: (file: NewFile) => Image | Promise<Image>,
  ): Promise<Image> {
    const file = await NewFile.create(path, { ...options, size: 0n });
    try {
      return await make(file);
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /**
   * @param path no symbolic link
   * @throws {DiskError} NOT_FOUND when there is no such folder; IO when its filesystem cannot hold a file of that size
   */
  static async create(path: string, options: NewFileOptions): Promise<NewFile> {
    const folder = await Folder.open(dirname(path));
    try {
      const nameless = await folder.createNameless();
      const { fd, name } = nameless === undefined ? await createNamed(folder, path) : { fd: nameless, name: undefined };
      const file = new NewFile(folder, basename(path), fd, await DirectWrites.of(fd), name, options);
      try {
        call('ftruncate', `of ${options.name} to ${options.size} bytes`, fd, options.size);
      } catch (error) {
        await file.discard();
        throw error;
      }
      return file;
    } catch (error) {
      await folder[Symbol.asyncDispose]();
      throw error;
    }
  }

  get written(): bigint {
    return this.#written;
  }

  async write(from: Uint8Array, offset: bigint): Promise<void> {
    this.#written += BigInt(from.length);
    if (await this.direct.write(from, offset, this.name)) return;
    await writeAt(this.fd, from, offset, this.name);
    this.#unstarted += from.length;
    if (this.#unstarted < writebackStep || this.#writingBack) return;
    this.#unstarted = 0;
    this.#writingBack = true;
    this.#writeback = startWriteback(this.fd, 0n, 0n).finally(() => {
      this.#writingBack = false;
    });
  }

  async zero(): Promise<void> {}

  async finish(): Promise<void> {
    await this.#writeback;
    const { attributes, onWarning, name } = this.options;
    if (attributes !== undefined) await applyAttributes(this.fd, attributes, name, onWarning);
    await syncFd(this.fd).catch((error: unknown) => {
      throw wrapSystemError(`fsync of ${name}`, error);
    });
    await this.#takeName();
    this.temporaryName = undefined;
    await this.folder.sync();
    await this.#close();
  }

  async discard(): Promise<void> {
    if (!this.#open) return;
    await this.#writeback;
    try {
      if (this.temporaryName !== undefined) await this.folder.remove(this.temporaryName);
    } finally {
      await this.#close();
    }
  }

  async #takeName(): Promise<void> {
    const { folder, finalName } = this;
    if (!this.options.replace) {
      const taken =
        this.temporaryName === undefined
          ? !folder.link(this.fd, finalName)
          : !(await folder.renameToFree(this.temporaryName, finalName));
      if (taken) throw alreadyThere(this.name);
      return;
    }
    this.temporaryName ??= findName(finalName, (name) => folder.link(this.fd, name));
    if (this.temporaryName === undefined) throw noName(folder, finalName);
    folder.rename(this.temporaryName, finalName);
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    try {
      await this.direct.close();
      await closeFd(this.fd);
    } finally {
      await this.folder[Symbol.asyncDispose]();
    }
  }
}

export function alreadyThere(name: string): DiskError {
  return new DiskError('UNSAFE', `${name} is there already: choose another name, or replace it with --force`, {
    device: name,
    errno: 'EEXIST',
    reason: 'output-exists',
  });
}

async function createNamed(folder: Folder, path: string): Promise<{ fd: number; name: string }> {
  for (const name of temporaryNames(basename(path))) {
    const fd = await folder.create(name);
    if (fd !== undefined) return { fd, name };
  }
  throw noName(folder, basename(path));
}

function findName(finalName: string, take: (name: string) => boolean): string | undefined {
  for (const name of temporaryNames(finalName)) if (take(name)) return name;
  return undefined;
}

/** Hidden names that fit where the final name does: 50 characters of it are at most 200 bytes. */
function* temporaryNames(finalName: string): Generator<string> {
  const start = `.${finalName.slice(0, 50)}.disktool-${process.pid}`;
  yield start;
  for (let i = 1; i < attempts; i++) yield `${start}-${i}`;
}

function noName(folder: Folder, finalName: string): DiskError {
  const example = join(folder.path, [...temporaryNames(finalName)][0] ?? '');
  return new DiskError('IO', `${example} and the names after it are taken: remove what earlier copies left`, {
    device: folder.path,
    errno: 'EEXIST',
  });
}
