import { randomBytes } from 'node:crypto';
import { fdatasync, fstat as fstatWith } from 'node:fs';
import { promisify } from 'node:util';
import { max, min, toNumber } from '../../binary/convert.js';
import { zeros } from '../../binary/zeros.js';
import { DiskError } from '../../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../../host/errno.js';
import { storeAsWritten } from '../../host/file-flags.js';
import { mountSpace, syncMount } from '../../host/mount-space.js';
import { mountAt } from '../../host/mounts.js';
import { closeFile } from '../../host/open-file.js';
import { writeAt } from '../../host/positioned.js';
import { Folder } from '../../host/tmpfile.js';
import type { TaskContext } from '../context.js';

/** All numbers are bytes. */
export interface FilledMount {
  readonly kind: 'mount';
  readonly target: string;
  /** As the kernel spells it. */
  readonly type: string;
  readonly free: bigint;
  readonly reserve: bigint;
  /** Free space that was overwritten with zeros. */
  readonly zeroed: bigint;
}

const mebibyte = 1n << 20n;
const leastReserve = 64n * mebibyte;
/** Bytes that are written before the filesystem is asked again how much is left. */
const round = 256n * mebibyte;
/** Bytes: less than this is not worth another round. */
const crumbs = 64n << 10n;

/** What has no disk to be shrunk: to fill it is to fill memory. */
const inMemory = new Set(['tmpfs', 'ramfs', 'devtmpfs', 'hugetlbfs']);

const sync = promisify(fdatasync);
const fstat = promisify(fstatWith);

/**
 * Fills a mounted filesystem with zeros and lets go of them again. The file has no name, so that nothing is left of it
 * however this process ends.
 *
 * @throws {DiskError} NOT_FOUND no mount point; READ_ONLY; UNSUPPORTED where zeros take no room; IO; CANCELLED
 */
export async function fillMount(
  path: string,
  { reserve: wanted }: { readonly reserve?: bigint | undefined },
  context: TaskContext,
): Promise<FilledMount> {
  const { mountPoint, type, readOnly } = mountAt(path);
  if (inMemory.has(type)) {
    throw new DiskError('UNSUPPORTED', `${path}: a ${type} has no disk: its free space is memory`, { device: path });
  }
  if (readOnly) {
    throw new DiskError('READ_ONLY', `${path}: mounted read-only: mount -o remount,rw it first`, {
      device: path,
      errno: 'EROFS',
    });
  }
  const { size, free } = await mountSpace(mountPoint, type);
  const reserve = wanted ?? max(size / 100n, leastReserve);
  if (free <= reserve) {
    context.onWarning?.(`${path}: ${free} bytes are free, and ${reserve} are to stay so: there is nothing to fill`);
  }
  const filler = new Filler(mountPoint, type, reserve, free, context);
  try {
    await filler.fill();
  } finally {
    await filler.close();
    // Some filesystems give room back only when they next write their state out.
    await syncMount(mountPoint);
  }
  return { kind: 'mount', target: mountPoint, type, free, reserve, zeroed: filler.written };
}

class Filler {
  written = 0n;
  readonly #files: number[] = [];

  constructor(
    private readonly mountPoint: string,
    private readonly type: string,
    private readonly reserve: bigint,
    private readonly freeBefore: bigint,
    private readonly context: TaskContext,
  ) {}

  async fill(): Promise<void> {
    let file: { fd: number; size: bigint } | undefined;
    for (;;) {
      const { free } = await mountSpace(this.mountPoint, this.type);
      if (free - this.reserve < crumbs) return;
      file ??= { fd: await this.#newFile(), size: 0n };
      const end = await this.#write(file, min(round, free - this.reserve));
      await this.#sync(file.fd);
      if (end === 'full') return;
      await this.#checkRoom(file);
      // One file cannot hold it all: FAT's end at 4 GiB.
      if (end === 'too-large') file = undefined;
    }
  }

  async close(): Promise<void> {
    for (const fd of this.#files.splice(0)) await closeFile(fd);
  }

  async #newFile(): Promise<number> {
    await using folder = await Folder.open(this.mountPoint);
    const fd = (await folder.createNameless()) ?? (await createUnnamed(folder));
    this.#files.push(fd);
    storeAsWritten(fd);
    return fd;
  }

  /** Writes zeros until `length` bytes are written, or no more can be. */
  async #write(file: { fd: number; size: bigint }, length: bigint): Promise<'more' | 'full' | 'too-large'> {
    const { signal, onProgress } = this.context;
    const phase = `filling ${this.mountPoint} with zeros`;
    const total = max(this.freeBefore - this.reserve, 0n);
    for (let left = length; left > 0n; ) {
      if (signal?.aborted) throw DiskError.cancelled(signal);
      const piece = min(left, BigInt(zeros.length));
      try {
        await writeAt(file.fd, zeros.subarray(0, toNumber(piece)), file.size, `a file in ${this.mountPoint}`);
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === 'ENOSPC' || errno === 'EDQUOT') return 'full';
        if (errno === 'EFBIG' && file.size > 0n) return 'too-large';
        throw error;
      }
      file.size += piece;
      left -= piece;
      this.written += piece;
      onProgress?.({ phase, done: min(this.written, total), total });
    }
    return 'more';
  }

  async #sync(fd: number): Promise<void> {
    try {
      await sync(fd);
    } catch (error) {
      // What was promised room and did not find it: that is full, too.
      if (errnoOf(error) !== 'ENOSPC') throw wrapSystemError(`sync of a file in ${this.mountPoint}`, error);
    }
  }

  /** Where zeros take no room, they never fill anything. */
  async #checkRoom({ fd, size }: { fd: number; size: bigint }): Promise<void> {
    const { blocks } = await fstat(fd);
    if (size < mebibyte || BigInt(blocks) * 512n >= size / 2n) return;
    throw new DiskError(
      'UNSUPPORTED',
      `${this.mountPoint}: zeros take no room on this filesystem (it compresses, or leaves holes), so they cannot fill it`,
      { device: this.mountPoint },
    );
  }
}

/** Creates a file and takes its name away at once, for filesystems that know no nameless ones. */
async function createUnnamed(folder: Folder): Promise<number> {
  const name = `.disktool-zerofill-${randomBytes(6).toString('hex')}`;
  const fd = await folder.create(name);
  if (fd === undefined) throw new DiskError('IO', `${folder.path}: ${name} is there already`, { errno: 'EEXIST' });
  try {
    await folder.remove(name);
  } catch (error) {
    await closeFile(fd);
    throw error;
  }
  return fd;
}
