import { stat } from 'node:fs/promises';
import { DiskError } from '../../error/disk-error.js';
import { errnoOf } from '../../host/errno.js';
import type { ImageFormat } from '../../image/image-format.js';
import type { TaskContext } from '../context.js';
import { type FilledImage, fillImage } from './fill-image.js';
import { type FilledMount, fillMount } from './fill-mount.js';

export interface ZerofillOptions {
  /** Bytes of a mounted filesystem that stay free meanwhile; by default 1 % of it, and at least 64 MiB. */
  readonly reserve?: bigint | undefined;
  /** Write to an image although others have it open to read. */
  readonly force?: boolean | undefined;
  /** Of the image; undefined: found out. */
  readonly format?: ImageFormat | undefined;
}

export type ZerofillResult = FilledMount | FilledImage;

/**
 * Overwrites free space with zeros, for tools that shrink later: that of a mounted filesystem by filling it with a file,
 * that of an image where its filesystems say that it is.
 *
 * @param target a mount point, or a disk image
 * @throws {DiskError} USAGE, and as filling an image or a mount point does
 */
export async function zerofill(
  target: string,
  options: ZerofillOptions = {},
  context: TaskContext = {},
): Promise<ZerofillResult> {
  if (!(await isFolder(target))) {
    if (options.reserve !== undefined) {
      const message = `${target}: is no mount point: in an image nobody else needs room meanwhile`;
      throw new DiskError('USAGE', message, { device: target });
    }
    return fillImage(target, options, context);
  }
  if (options.format !== undefined) {
    throw new DiskError('USAGE', `${target}: is a mount point, which has no image format`, { device: target });
  }
  return fillMount(target, options, context);
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    // Whoever opens it next says what is wrong with it.
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}
