import { stat } from 'node:fs/promises';
import { DiskError } from '../../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../../host/errno.js';
import { alreadyThere, NewFile } from './new-file.js';
import type { Output } from './output.js';
import { StreamOutput } from './stream-output.js';

export interface TextOutputOptions {
  /** A regular file that is there already is replaced. */
  readonly replace?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
}

/**
 * Opens what a report is written to piece by piece: a new file, which appears whole or not at all, or something that takes
 * a stream.
 *
 * @throws {DiskError} UNSAFE when a file is there and must not be replaced; USAGE for a folder; NOT_FOUND, IO
 */
export async function openTextOutput(path: string, options: TextOutputOptions = {}): Promise<Output> {
  const { replace = false, signal, onWarning = () => {} } = options;
  const there = await stat(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw wrapSystemError(`stat ${path}`, error);
    return undefined;
  });
  if (there?.isDirectory() || path.endsWith('/')) {
    throw new DiskError('USAGE', `${path} is a folder: name the file in it`, { device: path });
  }
  if (there !== undefined && !there.isFile()) return await StreamOutput.open(path, path, signal);
  if (there !== undefined && !replace) throw alreadyThere(path);
  return await NewFile.create(path, { name: path, size: 0n, replace, onWarning });
}
