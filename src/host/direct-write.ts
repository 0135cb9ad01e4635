import { close, constants, open } from 'node:fs';
import { promisify } from 'node:util';
import { errnoOf } from './errno.js';
import { addressOf } from './libc.js';
import { writeAt } from './positioned.js';

/** Bytes: a page, which is a multiple of every sector. */
const alignment = 4096;
/** Bytes: a shorter write costs the disk's answer, and the page cache's copy is cheaper. */
const shortest = 64 << 10;

const openFd = promisify(open);
const closeFd = promisify(close);

/**
 * A second descriptor of an open file, whose writes go round the page cache: nothing of it is filled, or thrown out, by a
 * file that is written once. Only whole pages from a page on, of memory that starts at a page, can go that way.
 */
export class DirectWrites {
  #fd: number | undefined;
  #refused = false;

  private constructor(fd: number | undefined) {
    this.#fd = fd;
  }

  /** Never fails: where the filesystem has no direct I/O, nothing is taken. */
  static async of(fd: number): Promise<DirectWrites> {
    const path = `/proc/self/fd/${fd}`;
    return new DirectWrites(await openFd(path, constants.O_WRONLY | constants.O_DIRECT).catch(() => undefined));
  }

  /**
   * Writes all of `from`, past the page cache.
   *
   * @returns false when that is not the way for these bytes: nothing was promised, write them as usual
   * @throws {DiskError} IO
   */
  async write(from: Uint8Array, offset: bigint, what: string): Promise<boolean> {
    const fd = this.#fd;
    if (fd === undefined || this.#refused || from.length < shortest) return false;
    if ((BigInt(from.length) | offset | addressOf(from)) % BigInt(alignment) !== 0n) return false;
    try {
      await writeAt(fd, from, offset, what);
      return true;
    } catch (error) {
      // Some filesystems take the descriptor and refuse what comes through it.
      const errno = errnoOf(error);
      if (errno !== 'EINVAL' && errno !== 'EOPNOTSUPP') throw error;
      this.#refused = true;
      return false;
    }
  }

  async close(): Promise<void> {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) await closeFd(fd);
  }
}
