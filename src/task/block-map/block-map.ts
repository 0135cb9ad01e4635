import { type Guest, openGuest } from '../../guest/guest.js';
import { openImage, type SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { MapLines } from './map-lines.js';
import { type Owned, type Survey, surveyGuest } from './survey.js';

export interface BlockMapOptions extends SourceOptions {
  /** Lines of what is free as well. */
  readonly free?: boolean | undefined;
}

export interface BlockMap extends Survey {
  readonly lines: MapLines;
}

/**
 * Finds out what every part of a disk belongs to: which partition, which file, which metadata. Reads metadata alone.
 *
 * What lies in an inode (small files, short links) has no line of its own: its bytes are metadata.
 *
 * @throws {DiskError} as openImage and openGuest; what cannot be read is left out
 */
export async function blockMap(image: string, options: BlockMapOptions, context: TaskContext): Promise<BlockMap> {
  const { free, ...source } = options;
  return await withGuest(image, source, context, (guest) => mapGuest(guest, { free }, context));
}

/** Opens an image to look at its guest, and tells what is odd about it. */
export async function withGuest<Result>(
  image: string,
  source: SourceOptions,
  { signal, onWarning }: TaskContext,
  look: (guest: Guest) => Promise<Result>,
): Promise<Result> {
  await using disk = await openImage(image, { ...source, access: 'read', signal, onWarning });
  const guest = await openGuest(disk, { signal });
  for (const warning of guest.warnings) onWarning?.(warning);
  return await look(guest);
}

/**
 * The same of a disk that is open, in bytes from its start.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function mapGuest(
  guest: Guest,
  { free = false }: Pick<BlockMapOptions, 'free'>,
  context: TaskContext,
): Promise<BlockMap> {
  const lines = new MapLines();
  let last: Buffer | undefined;
  let number: number | undefined;
  const take = ({ kind, volume, file, offset, length }: Owned) => {
    // The extents of a file come one after another.
    if (file?.path !== last) {
      last = file?.path;
      number = last === undefined ? undefined : lines.addPath(last);
    }
    // One, unless it lies on the disk in pieces.
    for (const run of volume.placement.locate(offset, length)) {
      lines.add(kind, volume.name, run.offset, run.length, number);
    }
  };
  const survey = await surveyGuest(guest, { free }, take, context);
  return { ...survey, lines };
}
