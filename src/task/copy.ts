import { openImage, type SourceOptions } from '../image/open-image.js';
import type { TaskContext } from './context.js';
import { type Conversion, type CopyFormat, copyFormat } from './conversion.js';
import { type CopyResult, copyDevice } from './copy-device.js';
import { openOutput } from './output/open-output.js';

export interface CopyImageOptions extends SourceOptions, Conversion {
  /** What is there already is replaced. */
  readonly force?: boolean | undefined;
}

export interface CopyImageResult extends CopyResult {
  /** What the copy is. */
  readonly format: CopyFormat['format'];
}

/**
 * Copies a disk image, with all that it stands on; the source is only read.
 *
 * @param output a path, or `-` for standard output
 * @throws {DiskError} BUSY, NOT_FOUND, UNSAFE when the output is there already, USAGE, CORRUPT, IO, CANCELLED
 */
export async function copyImage(
  image: string,
  output: string,
  { force, convert, compress, clusterSize, ...source }: CopyImageOptions,
  context: TaskContext,
): Promise<CopyImageResult> {
  const { signal, onWarning } = context;
  await using disk = await openImage(image, { ...source, access: 'read', signal, onWarning });
  const format = copyFormat(image, disk, { convert, compress, clusterSize });
  const target = await openOutput(output, { source: disk, format, replace: force, signal, onWarning });
  return { format: format.format, ...(await copyDevice(disk, target, {}, context)) };
}
