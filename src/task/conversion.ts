import type { BlockDevice } from '../device/block-device.js';
import { DiskError } from '../error/disk-error.js';
import { type CreatedFormat, createdFormats, type ImageFormat } from '../image/image-format.js';
import { formatOf } from '../image/open-image.js';
import type { Qcow2Layout } from '../image/qcow2/writer/plan.js';

/** The formats that are written: the first two by ourselves. */
export const copyFormats = ['raw', 'qcow2', ...createdFormats] as const satisfies readonly ImageFormat[];

/** What is said of the format of a copy. */
export interface Conversion {
  /** Undefined: that of the image. */
  readonly convert?: (typeof copyFormats)[number] | undefined;
  /** How the clusters of a qcow2 copy are compressed; undefined: not. */
  readonly compress?: 'zlib' | 'zstd' | undefined;
  /** Bytes: of the clusters of a qcow2 copy. */
  readonly clusterSize?: number | undefined;
}

/** What a copy will be. */
export type CopyFormat = { readonly format: 'raw' | CreatedFormat } | ({ readonly format: 'qcow2' } & Qcow2Layout);

/**
 * A copy has the format of its image, so that nobody is surprised by a raw file under a qcow2 image's name.
 *
 * @throws {DiskError} USAGE when the image is of a format that is not written, or what is said does not go with the format
 */
export function copyFormat(image: string, disk: BlockDevice, conversion: Conversion): CopyFormat {
  const { convert, compress, clusterSize } = conversion;
  const own: string = formatOf(disk);
  const format = convert ?? copyFormats.find((known) => known === own);
  if (format === undefined) {
    throw new DiskError('USAGE', `${image}: is a ${own} image, and no copy of that format is written: say --convert`, {
      device: image,
      reason: 'convert',
    });
  }
  if (format === 'qcow2') return { format, clusterSize, compression: compress };
  const said = compress !== undefined ? '--compress' : clusterSize !== undefined ? '-o cluster_size' : undefined;
  if (said === undefined) return { format };
  const advice = convert === undefined ? ': say --convert qcow2 as well' : '';
  throw new DiskError('USAGE', `${said} goes with a qcow2 copy, and this one is ${format}${advice}`, {
    device: image,
    reason: 'convert',
  });
}
