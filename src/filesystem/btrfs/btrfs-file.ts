import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { FileObject } from '../file.js';
import type { BtrfsVolume } from './volume.js';

/** @throws {DiskError} CORRUPT; IO, CANCELLED */
export async function openRoot(volume: BtrfsVolume, options: RequestOptions): Promise<FileObject> {
  await volume.chunks(options);
  throw new DiskError('UNSUPPORTED', `btrfs on ${volume.device.name}: disktool does not read files of btrfs`);
}
