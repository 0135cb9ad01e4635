import type { BigIntStats } from 'node:fs';
import type { BlockDevice } from '../device/block-device.js';
import { FileDevice } from '../device/file-device.js';
import type { HeadGuard } from '../device/head-guard.js';
import { HostBlockDevice } from '../device/host-block-device.js';
import { DiskError } from '../error/disk-error.js';
import { identify } from '../host/file-identity.js';
import { hostFilesystem } from '../host/filesystem-type.js';
import { closeFile, findFile, statFile } from '../host/open-file.js';
import type { Opening, ShareOptions } from './exclusion.js';
import { openBlockDevice, openRegularFile } from './open-exclusively.js';

export interface OpenRawOptions extends ShareOptions {
  readonly access: 'read' | 'write';
  readonly signal?: AbortSignal | undefined;
  /** What the first bytes of a file or block device must not become. */
  readonly guard?: HeadGuard | undefined;
}

/** Bytes: what a host's block size is believed between. */
const smallestBlock = 512n;
const largestBlock = 1n << 20n;
const usualBlock = 4096;
/** Filesystems without a disk behind them: reading never waits, and there is nothing to flush to. */
const inMemory = ['tmpfs'];

/**
 * Opens the bytes of a file, a block device or an NBD export, whatever they look like. Nobody else writes to it while the
 * device is open, and nobody else has it open at all when `access` is `write`; closing the device drops every lock. (What
 * an NBD server lets others do is its own affair.)
 *
 * @throws {DiskError} NOT_FOUND; BUSY (`facts.reason`: `in-use-by-writer`, `in-use-by-reader`, `in-use-by-lock`); UNSAFE
 * when no lock can be taken for writing; READ_ONLY; UNSUPPORTED for other kinds of file and URIs; USAGE; IO
 */
export async function openRaw(path: string, options: OpenRawOptions): Promise<BlockDevice> {
  if (/^nbd/i.test(path)) {
    // Loaded for those who need it alone: every command opens images, and few of them over NBD.
    const { isNbdUri, NbdDevice } = await import('../nbd/index.js');
    // Who else uses the disk is the server's affair.
    if (isNbdUri(path)) return await NbdDevice.connect(path, options);
  }
  refuseUri(path);
  return await openPath(path, { ...options, onWarning: once(options.onWarning) });
}

async function openPath(path: string, { access, signal, guard, ...options }: OpenRawOptions): Promise<BlockDevice> {
  if (signal?.aborted) throw DiskError.cancelled(signal);
  const { fd: place, stats } = await findFile(path);
  const refusal = refuseKind(path, stats);
  if (refusal !== undefined) {
    await closeFile(place);
    throw refusal;
  }
  const opening: Opening = { name: path, access, file: identify(stats), options };
  return stats.isBlockDevice()
    ? await blockDevice(await openBlockDevice({ ...opening, rdev: stats.rdev }, place), opening, guard)
    : await fileDevice(await openRegularFile(opening, place), opening, guard);
}

async function fileDevice(fd: number, { name, access }: Opening, guard?: HeadGuard): Promise<BlockDevice> {
  try {
    // Asked again: until the locks were taken, the size could change.
    const { size, blksize } = await statFile(fd, name);
    const block = blksize < smallestBlock || blksize > largestBlock ? usualBlock : Number(blksize);
    const kind = inMemory.includes(hostFilesystem(fd).type) ? 'memory' : 'file';
    return new FileDevice(fd, { name, size, writable: access === 'write', blockSize: block, kind, guard });
  } catch (error) {
    await closeFile(fd);
    throw error;
  }
}

async function blockDevice(fd: number, { name, access }: Opening, guard?: HeadGuard): Promise<BlockDevice> {
  try {
    return new HostBlockDevice(fd, { name, writable: access === 'write', guard });
  } catch (error) {
    await closeFile(fd);
    throw error;
  }
}

/** Passes on each message the first time alone: several ways of looking find the same writer. */
export function once(onWarning: ShareOptions['onWarning']): ShareOptions['onWarning'] {
  const said = new Set<string>();
  return (message) => {
    if (!said.has(message)) onWarning?.(message);
    said.add(message);
  };
}

/** Whether a name is a URI rather than a path. */
export function isUri(path: string): boolean {
  return /^[a-z][a-z0-9.+-]*:\/\//i.test(path);
}

function refuseUri(path: string): void {
  const scheme = /^([a-z][a-z0-9.+-]*):\/\//i.exec(path)?.[1] ?? /^(nbd)(?=:)/i.exec(path)?.[1];
  if (scheme === undefined) return;
  throw new DiskError(
    'UNSUPPORTED',
    `${path}: ${scheme} URIs are not supported: give a file, a block device or an nbd:// URI (a file of that name: ./${path})`,
    { device: path, reason: 'uri' },
  );
}

function refuseKind(path: string, stats: BigIntStats): DiskError | undefined {
  if (stats.isFile() || stats.isBlockDevice()) return undefined;
  const kind = stats.isDirectory()
    ? 'folder'
    : stats.isFIFO()
      ? 'pipe'
      : stats.isSocket()
        ? 'socket'
        : 'character device';
  return new DiskError('USAGE', `${path}: is a ${kind}, not a disk image or block device`, { device: path });
}
