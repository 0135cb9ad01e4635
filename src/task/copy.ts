import { openImage } from '../image/open-image.js';
import type { TaskContext } from './context.js';
import { type CopyResult, copyDevice } from './copy-device.js';
import { openOutput } from './output/open-output.js';

export interface CopyImageOptions {
  /** What is there already is replaced. */
  readonly force?: boolean | undefined;
  /** Read the image although somebody is writing to it. */
  readonly forceShare?: boolean | undefined;
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
  { force, forceShare = false }: CopyImageOptions,
  context: TaskContext,
): Promise<CopyResult> {
  const { signal, onWarning } = context;
  await using source = await openImage(image, { access: 'read', forceShare, signal, onWarning });
  const target = await openOutput(output, { source, replace: force, signal, onWarning });
  return await copyDevice(source, target, {}, context);
}
