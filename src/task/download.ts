import { DiskError } from '../error/disk-error.js';
import { findVolume } from '../guest/find-volume.js';
import { openGuest } from '../guest/guest.js';
import { openImage, type SourceOptions } from '../image/open-image.js';
import type { TaskContext } from './context.js';
import { type CopyResult, copyDevice } from './copy-device.js';
import { openOutput } from './output/open-output.js';

export interface DownloadOptions extends SourceOptions {
  /** What is there already is replaced, and of a partition that the image cuts short what is there is copied. */
  readonly force?: boolean | undefined;
}

export interface DownloadResult extends CopyResult {
  /** What was asked for, as the guest names it: `/dev/sda1`. */
  readonly device: string;
  /** Bytes from the start of the disk; absent when it does not lie there in a row. */
  readonly offset?: bigint | undefined;
}

/**
 * Copies one device of a guest out of its disk image: a partition, a logical volume, the disk.
 *
 * @param device a name that {@link findVolume} knows
 * @param output a path, or `-` for standard output
 * @throws {DiskError} NOT_FOUND, USAGE when the name fits several, UNSAFE when the output is there already,
 * or the image ends before the partition does; BUSY, IO
 */
export async function download(
  image: string,
  device: string,
  output: string,
  { force, ...options }: DownloadOptions,
  context: TaskContext,
): Promise<DownloadResult> {
  const { signal, onWarning } = context;
  await using source = await openImage(image, { ...options, access: 'read', signal, onWarning });
  const guest = await openGuest(source, { signal });
  const volume = findVolume(guest, device);
  for (const warning of guest.warnings) onWarning?.(warning);
  if (volume.partition?.problem === 'past-end' && force !== true) {
    const message = `${volume.name} goes on behind the end of ${image}, which may be cut short: force it to copy what is there`;
    throw new DiskError('UNSAFE', message, { device: image, reason: 'past-end' });
  }
  const target = await openOutput(output, { source: volume.device, replace: force, signal, onWarning });
  const phase = `copying ${volume.name} of ${image}`;
  const result = await copyDevice(volume.device, target, { phase }, context);
  return { device: volume.name, offset: volume.placement.offset, ...result };
}
