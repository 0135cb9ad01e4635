import { openImage, type SourceOptions } from '../image/open-image.js';
import type { TaskContext } from './context.js';
import { type Conversion, checkConversion } from './conversion.js';
import { type CopyResult, copyDevice } from './copy-device.js';
import { openOutput } from './output/open-output.js';

export interface CopyImageOptions extends SourceOptions, Conversion {
  /** What is there already is replaced. */
  readonly force?: boolean | undefined;
}

/**
 * Copies a disk image as it is; the source is only read.
 *
 * @param output a path, or `-` for standard output
 * @throws {DiskError} BUSY, NOT_FOUND, UNSAFE when the output is there already, USAGE, CORRUPT, IO, CANCELLED
 */
export async function copyImage(
  image: string,
  output: string,
  { force, convert, ...source }: CopyImageOptions,
  context: TaskContext,
): Promise<CopyResult> {
  const { signal, onWarning } = context;
  await using disk = await openImage(image, { ...source, access: 'read', signal, onWarning });
  checkConversion(image, disk, convert);
  const target = await openOutput(output, { source: disk, replace: force, signal, onWarning });
  return await copyDevice(disk, target, {}, context);
}
