import { close, constants, fsync, type Mode, open } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errnoName, errnoOf, systemError, wrapSystemError } from './errno.js';
import { tryCall } from './libc.js';

/** Files that have no name until they are whole: open(2) with O_TMPFILE, linkat(2), renameat2(2). */

const openFd = promisify(open);
const closeFd = promisify(close);
const syncFd = promisify(fsync);

/** asm-generic/fcntl.h: this bit together with O_DIRECTORY, which differs between machines. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
const AT_FDCWD = -100;
const AT_SYMLINK_FOLLOW = 0x400;
const RENAME_NOREPLACE = 1;
const privateMode: Mode = 0o600;

/** A folder held open, so that what is created and named in it stays in it. */
export class Folder implements AsyncDisposable {
  #closing: Promise<void> | undefined;

  private constructor(
    readonly path: string,
    private readonly fd: number,
  ) {}

  /** @throws {DiskError} NOT_FOUND, or IO with the errno */
  static async open(path: string): Promise<Folder> {
    try {
      return new Folder(path, await openFd(path, constants.O_RDONLY | constants.O_DIRECTORY));
    } catch (error) {
      throw wrapSystemError(`open the folder ${path}`, error);
    }
  }

  /**
   * Opens a new file without a name, mode 0600, that vanishes with its descriptor.
   *
   * @returns undefined where the filesystem knows no such files
   */
  async createNameless(): Promise<number | undefined> {
    try {
      return await openFd(this.path, O_TMPFILE | constants.O_RDWR, privateMode);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'EOPNOTSUPP' || errno === 'ENOTSUP' || errno === 'EISDIR' || errno === 'EINVAL') return undefined;
      throw wrapSystemError(`create a file in ${this.path}`, error);
    }
  }

  /** Opens a new file with a name, mode 0600, or returns undefined when the name is taken. */
  async create(name: string): Promise<number | undefined> {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    try {
      return await openFd(join(this.path, name), flags, privateMode);
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return undefined;
      throw wrapSystemError(`create ${join(this.path, name)}`, error);
    }
  }

  /** Gives a nameless file its name; false when the name is taken. */
  link(fd: number, name: string): boolean {
    const result = tryCall('linkat', AT_FDCWD, `/proc/self/fd/${fd}`, this.fd, name, AT_SYMLINK_FOLLOW);
    return this.#named(Number(result), name);
  }

  /** Renames inside the folder, over whatever has the name. */
  rename(from: string, to: string): void {
    this.#named(Number(tryCall('renameat2', this.fd, from, this.fd, to, 0)), to);
  }

  /** Renames inside the folder; false when the name is taken. */
  async renameToFree(from: string, to: string): Promise<boolean> {
    const result = Number(tryCall('renameat2', this.fd, from, this.fd, to, RENAME_NOREPLACE));
    if (!['EINVAL', 'ENOSYS', 'EOPNOTSUPP'].includes(errnoName(-result))) return this.#named(result, to);
    // Neither that nor, on FAT by FUSE, links: an empty file holds the name, since nothing else does it atomically.
    const holder = await this.create(to);
    if (holder === undefined) return false;
    await closeFd(holder);
    this.rename(from, to);
    return true;
  }

  async remove(name: string): Promise<void> {
    await unlink(join(this.path, name)).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw wrapSystemError(`remove ${join(this.path, name)}`, error);
    });
  }

  /** Makes names durable. */
  async sync(): Promise<void> {
    await syncFd(this.fd).catch((error: unknown) => {
      // Filesystems without a notion of it answer EINVAL.
      if (errnoOf(error) !== 'EINVAL') throw wrapSystemError(`fsync of ${this.path}`, error);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= closeFd(this.fd);
    return this.#closing;
  }

  #named(result: number, name: string): boolean {
    if (result >= 0) return true;
    const errno = errnoName(-result);
    if (errno === 'EEXIST') return false;
    throw systemError(`name ${join(this.path, name)}`, errno);
  }
}
