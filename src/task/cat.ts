import { DiskError } from '../error/disk-error.js';
import { errnoOf } from '../host/errno.js';
import type { SourceOptions } from '../image/open-image.js';
import type { TaskContext } from './context.js';
import { copyDevice } from './copy-device.js';
import { openFiles } from './open-files.js';
import { StreamOutput } from './output/stream-output.js';

/**
 * Writes the content of a file of a guest to standard output; holes are not read. That nobody reads to the end is no
 * error.
 *
 * @param device a name that findVolume knows
 * @param path from the root of its filesystem; symbolic links are followed within it
 * @throws {DiskError} as openFiles, and NOT_FOUND, USAGE when it is no regular file, UNSUPPORTED when it is encrypted
 */
export async function cat(
  image: string,
  device: string,
  path: string,
  options: SourceOptions,
  context: TaskContext,
): Promise<void> {
  const { signal } = context;
  await using files = await openFiles(image, device, options, context);
  const file = await files.filesystem.open(path, { signal });
  const facts = { device: image };
  if (file.type !== 'file') {
    const advice = file.type === 'directory' ? ': list it by ls, or copy it by copy-out' : '';
    throw new DiskError('USAGE', `${path} is no regular file but a ${file.type}${advice}`, facts);
  }
  if (file.refused !== undefined) throw new DiskError('UNSUPPORTED', `${path}: ${file.refused}`, facts);
  await using content = await file.content({ signal });
  try {
    await copyDevice(content, await StreamOutput.standard(signal), { phase: `reading ${path}` }, context);
  } catch (error) {
    if (errnoOf(error) !== 'EPIPE') throw error;
  }
}
