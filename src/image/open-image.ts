import type { BlockDevice } from '../device/block-device.js';
import { DiskError } from '../error/disk-error.js';
import { detectImageFormat, type ImageFormat } from './image-format.js';
import { type OpenRawOptions, openRaw } from './open-raw.js';

/** What an image is, where its own bytes are not to be asked. */
export interface SourceOptions {
  /** Undefined: found out by the image's first bytes, which a guest may have written: then no other file is opened. */
  readonly format?: ImageFormat | undefined;
  /** The ID or name of an internal snapshot to be read instead of the current disk. */
  readonly snapshot?: string | undefined;
  /** Read although somebody writes. */
  readonly forceShare?: boolean | undefined;
}

export interface OpenOptions extends OpenRawOptions, SourceOptions {
  readonly forceShare?: boolean | undefined;
}

const images = new WeakMap<BlockDevice, { readonly format: ImageFormat; readonly file: BlockDevice }>();

/** The format of an image that {@link openImage} has opened; `raw` for any other device. */
export function formatOf(device: BlockDevice): ImageFormat {
  return images.get(device)?.format ?? 'raw';
}

/** The bytes that an image that {@link openImage} has opened consists of; any other device is its own. */
export function fileOf(device: BlockDevice): BlockDevice {
  return images.get(device)?.file ?? device;
}

/**
 * The one door: opens a disk image of any format that we know, a block device or an NBD export.
 *
 * @param path as the user gave it: it stands so in every message
 * @throws {DiskError} as {@link openRaw}; as reading the format does: CORRUPT; UNSUPPORTED for formats that are not read,
 * or not written; UNSAFE (`reason`: `other-file`) when the image names another file, and nobody has said its format
 */
export async function openImage(path: string, options: OpenOptions): Promise<BlockDevice> {
  const { format, access, signal, snapshot } = options;
  const file = await openRaw(path, options);
  try {
    if (signal?.aborted) throw DiskError.cancelled(signal);
    const found = format ?? (await detectImageFormat(file));
    if (found === 'raw') {
      if (snapshot === undefined) return file;
      throw new DiskError('USAGE', `${path}: is a raw image, which has no snapshots inside`, { device: path });
    }
    if (found !== 'qcow2') throw foreign(path, found);
    if (access === 'write') throw onlyRead(path);
    // Loaded for those who need it alone.
    const { openQcow2Chain } = await import('./qcow2/open-chain.js');
    const disk = await openQcow2Chain(path, file, { ...options, trusted: format !== undefined });
    images.set(disk, { format: found, file });
    return disk;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function onlyRead(path: string): DiskError {
  return new DiskError(
    'UNSUPPORTED',
    `${path}: is a qcow2 image, which is read and not changed yet: copy it with --convert raw, or serve it with --cow`,
    { device: path, reason: 'format-qcow2' },
  );
}

function foreign(path: string, format: string): DiskError {
  return new DiskError(
    'UNSUPPORTED',
    `${path}: is a ${format} image, which disktool does not read yet: convert it with qemu-img convert -O raw`,
    { device: path, reason: `format-${format}` },
  );
}
