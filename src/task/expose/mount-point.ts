import { type BigIntStats, closeSync, constants, openSync } from 'node:fs';
import { mkdir, readdir, realpath, rmdir, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DiskError } from '../../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../../host/errno.js';
import { flock } from '../../host/fs-ext.js';
import { ourType, unmountFuse } from '../../host/fuse-mount.js';
import { type Mount, readMounts } from '../../host/mounts.js';
import { closeFile, findFile, reopen } from '../../host/open-file.js';

/** A file or folder on which something is mounted: made if it is not there, and then gone again at the end. */
export class MountPoint implements AsyncDisposable {
  private constructor(
    /** Absolute, without symbolic links. */
    readonly path: string,
    private readonly kind: 'file' | 'folder',
    /** Locked for as long as anything of ours still goes on there: {@link waitUntilFree}. */
    private readonly fd: number,
    private readonly made: boolean,
  ) {}

  /**
   * Takes a file or folder that is empty, so that nothing is hidden, and on which nothing is mounted.
   *
   * @throws {DiskError} BUSY, UNSAFE when it is not empty, USAGE when it is something else, NOT_FOUND, IO
   */
  static async take(
    path: string,
    kind: 'file' | 'folder',
    onWarning: (message: string) => void = () => {},
  ): Promise<MountPoint> {
    const real = await realPath(path);
    await clearDead(real, path, onWarning);
    const made = await make(real, kind, path);
    try {
      const fd = await openEmpty(real, kind, path);
      if (flock(fd, 'exclusive', path)) return new MountPoint(real, kind, fd, made);
      closeSync(fd);
      throw new DiskError(
        'BUSY',
        `${path}: another disktool uses it for a disk that it is about to show or to put away`,
      );
    } catch (error) {
      if (made) await remove(real, kind);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.made) await remove(this.path, this.kind);
    closeSync(this.fd);
  }
}

/** The mount of ours at a path, dead or alive, or undefined. */
export function ourMountAt(real: string): Mount | undefined {
  const mount = readMounts().findLast(({ mountPoint }) => mountPoint === real);
  return mount?.type === ourType ? mount : undefined;
}

/** Absolute and without symbolic links, also where the last part is not there, or a mount whose server is gone. */
export async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'ENOENT' && !isDead(errno)) throw wrapSystemError(path, error, { device: path });
  }
  const folder = await realpath(dirname(path)).catch((error: unknown) => {
    throw wrapSystemError(`the folder of ${path}`, error, { device: path });
  });
  return join(folder, basename(path));
}

/** What the kernel says of a mount whose server was killed. */
function isDead(errno: string | undefined): boolean {
  return errno === 'ENOTCONN' || errno === 'ECONNABORTED';
}

/** Takes away the mounts of servers that were killed. */
async function clearDead(real: string, path: string, onWarning: (message: string) => void): Promise<void> {
  for (;;) {
    const mount = readMounts().findLast(({ mountPoint }) => mountPoint === real);
    if (mount === undefined) return;
    const stats: BigIntStats | string | undefined = await stat(real, { bigint: true }).catch(errnoOf);
    if (mount.type !== ourType || !(typeof stats === 'string' && isDead(stats))) {
      const what =
        mount.type === ourType ? `a disk is shown there already: ${mount.source}` : `${mount.type} is mounted there`;
      throw new DiskError('BUSY', `${path}: ${what}: name another place, or unmount it first`, { device: path });
    }
    await unmountFuse(real, { detach: true });
    onWarning(`${path}: the disktool that showed ${mount.source} there was killed: its dead mount is taken away`);
  }
}

/** Returns whether it was not there. */
async function make(real: string, kind: 'file' | 'folder', path: string): Promise<boolean> {
  try {
    if (kind === 'folder') await mkdir(real, 0o700);
    else closeSync(openSync(real, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600));
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw wrapSystemError(`make ${path}`, error, { device: path });
  }
}

async function openEmpty(real: string, kind: 'file' | 'folder', path: string): Promise<number> {
  const { fd, stats } = await findFile(real);
  try {
    if (kind === 'file' && !stats.isFile()) {
      throw new DiskError('USAGE', `${path}: no regular file: name one that is empty, or that is not there`, {
        device: path,
      });
    }
    if (kind === 'folder' && !stats.isDirectory()) {
      throw new DiskError('USAGE', `${path}: no folder: with --all, name one that is empty, or that is not there`, {
        device: path,
      });
    }
    const full = kind === 'file' ? stats.size > 0n : (await readdir(real)).length > 0;
    if (full) {
      const message = `${path}: not empty, and what it holds would be hidden: name a ${kind} that is empty, or that is not there`;
      throw new DiskError('UNSAFE', message, { device: path, reason: 'not-empty' });
    }
    return await reopen(fd, 'read', path);
  } finally {
    await closeFile(fd);
  }
}

async function remove(real: string, kind: 'file' | 'folder'): Promise<void> {
  // Whoever put something there since wants to keep it.
  await (kind === 'folder' ? rmdir(real) : unlink(real)).catch(() => {});
}
