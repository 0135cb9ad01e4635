import { type Allocation, allocations } from '../image/allocation.js';
import type { ImageFormat } from '../image/image-format.js';
import { formatOf, openImage, type SourceOptions } from '../image/open-image.js';
import type { TaskContext } from './context.js';

export type { Allocation } from '../image/allocation.js';

export interface MapOptions extends SourceOptions {
  readonly image: string;
}

/** What stands where in an image, told as it is walked: however many pieces there are, they are never held at once. */
export interface ImageMap extends AsyncDisposable {
  readonly image: string;
  readonly format: ImageFormat;
  /** Bytes of the disk. */
  readonly size: bigint;
  /** Tiles the disk, in order. */
  pieces(): AsyncGenerator<Allocation, void, undefined>;
}

/**
 * Opens an image for its map. Whoever opened it disposes of it.
 *
 * @throws {DiskError} as {@link openImage}
 */
export async function openMap({ image, ...source }: MapOptions, context: TaskContext = {}): Promise<ImageMap> {
  const { signal, onWarning } = context;
  const disk = await openImage(image, { ...source, access: 'read', signal, onWarning });
  const format = formatOf(disk);
  return {
    image,
    format,
    size: disk.facts.size,
    pieces: () => allocations(disk, { places: true, plain: format === 'raw', signal }),
    [Symbol.asyncDispose]: () => disk.close(),
  };
}
