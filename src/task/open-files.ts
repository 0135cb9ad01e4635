import type { Placement } from '../binary/placement.js';
import type { Filesystem } from '../filesystem/filesystem.js';
import { findFilesystem } from '../guest/find-filesystem.js';
import { openGuest } from '../guest/guest.js';
import { openImage, type SourceOptions } from '../image/open-image.js';
import type { TaskContext } from './context.js';

/** A filesystem whose files are read. Whoever opened it disposes of it. */
export interface OpenFiles extends AsyncDisposable {
  /** As the guest names it: `/dev/sda1`. */
  readonly device: string;
  readonly filesystem: Filesystem;
  /** Where the device's bytes are on the disk. */
  readonly placement: Placement;
}

/**
 * Opens one filesystem of a guest to read files from it. What casts doubt on what is read is a warning.
 *
 * @param device a name that findVolume knows
 * @throws {DiskError} as {@link openImage}, and NOT_FOUND, USAGE, UNSUPPORTED, CORRUPT when there is no such filesystem
 */
export async function openFiles(
  image: string,
  device: string,
  options: SourceOptions,
  { signal, onWarning }: TaskContext,
): Promise<OpenFiles> {
  const disk = await openImage(image, { ...options, access: 'read', signal, onWarning });
  try {
    const guest = await openGuest(disk, { signal });
    const { volume, filesystem, doubts } = findFilesystem(guest, device);
    for (const warning of guest.warnings) onWarning?.(warning);
    for (const doubt of doubts) onWarning?.(`${volume.name} of ${image}: ${doubt}`);
    const { name, placement } = volume;
    return { device: name, filesystem, placement, [Symbol.asyncDispose]: () => disk.close() };
  } catch (error) {
    await disk.close();
    throw error;
  }
}
