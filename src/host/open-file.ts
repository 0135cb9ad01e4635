import { type BigIntStats, close as closeWith, constants, fstat as fstatWith, open as openWith } from 'node:fs';
import { promisify } from 'node:util';
import { DiskError } from '../error/disk-error.js';
import { errnoOf, wrapSystemError } from './errno.js';

/**
 * Opening in two steps: first the file itself, whatever it is, without waiting for it and without its knowing; then,
 * once it is known to be of a kind that is wanted, that very file for reading or writing. A path that is changed
 * in between changes nothing.
 */

/** fcntl.h: Node names it nowhere. */
const O_PATH = 0o10000000;

const open = promisify(openWith);
const fstat: (fd: number, options: { bigint: true }) => Promise<BigIntStats> = promisify(fstatWith);
export const closeFile: (fd: number) => Promise<void> = promisify(closeWith);

export type OpenMode = 'read' | 'write' | 'read-exclusive' | 'write-exclusive';

const flags: Readonly<Record<OpenMode, number>> = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  'read-exclusive': constants.O_RDONLY | constants.O_EXCL,
  'write-exclusive': constants.O_RDWR | constants.O_EXCL,
};

/**
 * Finds a file, following symbolic links. The descriptor stands for the file and neither reads nor writes.
 *
 * @throws {DiskError} USAGE, NOT_FOUND, IO
 */
export async function findFile(path: string): Promise<{ fd: number; stats: BigIntStats }> {
  if (path === '' || path.includes('\0')) throw new DiskError('USAGE', `'${path}' is no file name`, { device: path });
  const fd = await open(path, O_PATH).catch((error: unknown) => {
    throw inWords(path, 'find', error);
  });
  try {
    return { fd, stats: await statFile(fd, path) };
  } catch (error) {
    await closeFile(fd);
    throw error;
  }
}

/** fstat(2), exactly. */
export async function statFile(fd: number, path: string): Promise<BigIntStats> {
  return await fstat(fd, { bigint: true }).catch((error: unknown) => {
    throw wrapSystemError(`stat of ${path}`, error, { device: path });
  });
}

/**
 * Opens the file that a descriptor stands for once more.
 *
 * @param path for errors
 * @throws {DiskError} BUSY when a block device is claimed already (the exclusive modes), READ_ONLY, IO
 */
export async function reopen(fd: number, mode: OpenMode, path: string): Promise<number> {
  const place = `/proc/self/fd/${fd}`;
  // That it was read is no news about a disk image. Only its owner may hide it.
  const quietly = await open(place, flags[mode] | constants.O_NOATIME).catch(() => undefined);
  if (quietly !== undefined) return quietly;
  return await open(place, flags[mode]).catch((error: unknown) => {
    throw errnoOf(error) === 'ENOENT'
      ? new DiskError('IO', `${path}: cannot be opened, since /proc is not mounted`, { device: path, cause: error })
      : inWords(path, mode.startsWith('write') ? 'write' : 'read', error);
  });
}

function inWords(path: string, purpose: 'find' | 'read' | 'write', error: unknown): unknown {
  const errno = errnoOf(error);
  const facts = { device: path, errno, cause: error };
  switch (errno) {
    case 'ENOENT':
      return new DiskError('NOT_FOUND', `${path}: there is no such file`, facts);
    case 'ENOTDIR':
      return new DiskError('NOT_FOUND', `${path}: a part of this path is no folder`, facts);
    case 'EACCES':
      return purpose === 'find'
        ? new DiskError('IO', `${path}: you may not enter its folder (EACCES)`, facts)
        : new DiskError('IO', `${path}: you may not ${purpose} it (EACCES): do this as its owner or as root`, facts);
    case 'EPERM':
      return new DiskError('IO', `${path}: may not be changed (EPERM): see lsattr whether it is immutable`, facts);
    case 'EROFS':
      return new DiskError('READ_ONLY', `${path}: lies on a filesystem that is mounted read-only`, facts);
    case 'ETXTBSY':
      return new DiskError('BUSY', `${path}: in use as swap space or as a running program`, facts);
    default:
      return wrapSystemError(`open ${path}`, error, { device: path });
  }
}
