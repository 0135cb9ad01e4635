import type { BlockDevice } from '../device/block-device.js';
import { DiskError } from '../error/disk-error.js';
import { formatOf } from '../image/open-image.js';

export interface Conversion {
  /** The format of the copy; undefined: that of the image. */
  readonly convert?: 'raw' | undefined;
}

/**
 * A copy has the format of its image, so that nobody is surprised by a raw file under a qcow2 image's name.
 *
 * @throws {DiskError} USAGE when the image is of a format that is not written
 */
export function checkConversion(image: string, disk: BlockDevice, convert: Conversion['convert']): void {
  if (convert !== undefined || formatOf(disk) === 'raw') return;
  throw new DiskError(
    'USAGE',
    `${image}: is a ${formatOf(disk)} image, and the copy would be raw: say so with --convert raw`,
    {
      device: image,
      reason: 'convert',
    },
  );
}
