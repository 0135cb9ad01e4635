import { findFreeSpace } from '../guest/free-space.js';
import { openGuest } from '../guest/guest.js';
import { openImage } from '../image/open-image.js';
import type { TaskContext } from './context.js';
import { type CopyResult, copyDevice } from './copy-device.js';
import { openOutput } from './output/open-output.js';

export interface CopyImageOptions {
  /** What is there already is replaced. */
  readonly force?: boolean | undefined;
  /** Read the image although somebody is writing to it. */
  readonly forceShare?: boolean | undefined;
  /** Leave out what the guest's filesystems call free. */
  readonly sparsify?: boolean | undefined;
}

/**
 * Copies a disk image as it is, or without the free space of its filesystems; the source is only read.
 *
 * @param output a path, or `-` for standard output
 * @throws {DiskError} BUSY, NOT_FOUND, UNSAFE when the output is there already, USAGE, CORRUPT, IO, CANCELLED
 */
export async function copyImage(
  image: string,
  output: string,
  { force, forceShare = false, sparsify = false }: CopyImageOptions,
  context: TaskContext,
): Promise<CopyResult> {
  const { signal, onWarning } = context;
  await using source = await openImage(image, { access: 'read', forceShare, signal, onWarning });
  const free = sparsify ? (await findFreeSpace(await openGuest(source, { signal }), { signal })).free : undefined;
  return await copyDevice(
    source,
    await openOutput(output, { source, replace: force, signal, onWarning }),
    { free },
    context,
  );
}
