import { type BigIntStats, fstatSync } from 'node:fs';
import { lstat, realpath, stat } from 'node:fs/promises';
import { isatty } from 'node:tty';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../../host/errno.js';
import { identify } from '../../host/file-identity.js';
import { findLoopDevices } from '../../host/loop-devices.js';
import { hostFileOf, openImage } from '../../image/open-image.js';
import { isUri } from '../../image/open-raw.js';
import type { CopyFormat } from '../conversion.js';
import { readAttributes } from './attributes.js';
import { DeviceOutput } from './device-output.js';
import { alreadyThere, NewFile } from './new-file.js';
import type { Output } from './output.js';
import { StreamOutput } from './stream-output.js';

const standardOutput = 1;

export interface OutputOptions {
  /** What will be copied: gives the length, and the attributes where it is a regular host file. */
  readonly source: BlockDevice;
  /** Raw unless told. */
  readonly format?: CopyFormat | undefined;
  /** A regular file that is there already is replaced. */
  readonly replace?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
}

/**
 * Opens what a copy goes to: a new file, a block device or an NBD export in place, something that takes a stream, or `-`.
 *
 * @throws {DiskError} UNSAFE when a file is there and must not be replaced; USAGE for a folder, the source itself, or for
 * anything but a file when it has to be more than the disk's own bytes
 */
export async function openOutput(path: string, options: OutputOptions): Promise<Output> {
  const { source, format = { format: 'raw' }, replace = false, signal, onWarning = () => {} } = options;
  const { size } = source.facts;
  const file = hostFileOf(source);
  if (path === '-') {
    refuseAllButFiles(format, 'standard output');
    return await openStandardOutput(signal);
  }
  if (path === '') throw new DiskError('USAGE', 'the output has an empty name: name a file');
  if (isUri(path)) {
    refuseAllButFiles(format, path);
    if (source.name === path || source.name.endsWith(` of ${path}`)) throw sourceItself(path);
    return await DeviceOutput.open(path, { name: path, size, signal, onWarning });
  }
  const there = await look(path);
  if (there?.isDirectory() || path.endsWith('/')) {
    const folder = path.replace(/\/+$/, '');
    throw new DiskError('USAGE', `${path} is a folder: name the file in it, such as ${folder}/disk.img`);
  }
  if (there !== undefined) await refuseSource(path, there, file?.fd);
  if (there !== undefined && !there.isFile()) refuseAllButFiles(format, path);
  if (there?.isBlockDevice()) return DeviceOutput.open(path, { name: path, size, signal, onWarning });
  if (there?.isFIFO() || there?.isCharacterDevice()) return StreamOutput.open(path, path, signal);
  if (there !== undefined && !there.isFile()) {
    throw new DiskError('USAGE', `${path} is a socket: a copy goes to a file, a block device or a pipe`);
  }
  if (there !== undefined && !replace) throw alreadyThere(path);
  if (there !== undefined) await refuseInUse(path, signal);
  const attributes = file && (await readAttributes(file.fd, source.name));
  // A link to a file stays a link: what it leads to is replaced.
  const target = there === undefined ? path : await realpath(path);
  const newFile = { name: path, size, replace, attributes, onWarning };
  if (format.format === 'raw') return await NewFile.create(target, newFile);
  // Each is loaded for those who need it alone.
  if (format.format === 'qcow2') {
    const { Qcow2Output } = await import('./qcow2-output.js');
    return await Qcow2Output.create(target, newFile, format);
  }
  const { QemuOutput } = await import('./qemu-output.js');
  return await QemuOutput.create(target, newFile, format.format, signal);
}

/**
 * Where a file is made, and nothing but a file: a link to a file stays a link.
 *
 * @returns no symbolic link
 * @throws {DiskError} as {@link openOutput}
 */
export async function placeForFile(path: string, replace: boolean, signal: AbortSignal | undefined): Promise<string> {
  if (path === '') throw new DiskError('USAGE', 'the output has an empty name: name a file');
  const there = await look(path);
  if (there !== undefined && !there.isFile()) throw new DiskError('USAGE', `${path} is no file: name one`);
  if (there === undefined) return path;
  if (!replace) throw alreadyThere(path);
  await refuseInUse(path, signal);
  return await realpath(path);
}

/** An image of any other format is a file: what it is written to must be able to be left out, and to be given up. */
function refuseAllButFiles({ format }: CopyFormat, path: string): void {
  if (format === 'raw') return;
  const words = `${path} is no file, and a ${format} image is written to a file: name one`;
  throw new DiskError('USAGE', `${words}, or write the bytes of the disk with --convert raw`, {
    device: path,
    reason: 'convert',
  });
}

/** Whoever has the file open would go on with one that has no name any more. */
async function refuseInUse(path: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    const device = await openImage(path, { access: 'write', format: 'raw', signal });
    await device.close();
  } catch (error) {
    // That it cannot be written to is no reason not to replace it; that another image stands on it is one.
    if (hasCode(error, 'BUSY', 'CANCELLED') || (hasCode(error, 'UNSAFE') && error.facts.reason === 'backing-of'))
      throw error;
  }
}

/** What the path leads to, or undefined when nothing is there. */
async function look(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw wrapSystemError(`stat ${path}`, error);
  }
  const link = await lstat(path).catch(() => undefined);
  if (link === undefined) return undefined;
  throw new DiskError('USAGE', `${path} is a symbolic link that leads nowhere: remove it, or choose another name`);
}

async function refuseSource(path: string, there: BigIntStats, fd: number | undefined): Promise<void> {
  if (fd === undefined) return;
  const source = identify(fstatSync(fd, { bigint: true }));
  const target = identify(there);
  if (source.key === target.key) throw sourceItself(path);
  if (there.isBlockDevice()) await refuseLoop(path, path, source, there);
}

function sourceItself(path: string): DiskError {
  return new DiskError('USAGE', `${path} is the source itself: choose another name`);
}

/** A loop device over the source is the source. */
async function refuseLoop(
  path: string,
  name: string,
  source: ReturnType<typeof identify>,
  there: BigIntStats,
): Promise<void> {
  for (const loop of await findLoopDevices(source)) {
    const stats = await stat(loop.path, { bigint: true }).catch(() => undefined);
    if (stats?.rdev === there.rdev) {
      throw new DiskError('USAGE', `${path} is a loop device over the source itself: choose another than ${name}`);
    }
  }
}

async function openStandardOutput(signal: AbortSignal | undefined): Promise<Output> {
  if (isatty(standardOutput)) {
    throw new DiskError('USAGE', 'standard output is a terminal: send it to a pipe or a file');
  }
  return await StreamOutput.standard(signal);
}
