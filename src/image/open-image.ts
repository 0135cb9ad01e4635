import type { BlockDevice, HostFile } from '../device/block-device.js';
import { DiskError, hasCode } from '../error/disk-error.js';
import {
  detectImageFormat,
  endsAsVhd,
  formatGuard,
  type ImageFormat,
  isForeignFormat,
  isImageFormat,
} from './image-format.js';
import { type OpenRawOptions, openRaw } from './open-raw.js';
import type { OpenInPlaceOptions } from './qcow2/open-in-place.js';

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
  /** It is to be made smaller: what keeps that from working is refused, unless `force` allows it. */
  readonly shrinks?: boolean | undefined;
}

/** What to do with a disk that can only be read. */
const readingInstead = 'make a copy (copy, or sparsify --output), or serve it with --read-only or --cow';

const formats = new WeakMap<BlockDevice, ImageFormat>();
const files = new WeakMap<BlockDevice, BlockDevice>();

/** The file or block device of this machine that holds a disk: as it is, or in an image that {@link openImage} has opened. */
export function hostFileOf(device: BlockDevice): HostFile | undefined {
  return (files.get(device) ?? device).facts.hostFile;
}

/** The format of an image that {@link openImage} has opened; `raw` for any other device. */
export function formatOf(device: BlockDevice): ImageFormat {
  return formats.get(device) ?? 'raw';
}

/**
 * The one door: opens a disk image of any format that we know, a block device or an NBD export.
 *
 * @param path as the user gave it: it stands so in every message
 * @throws {DiskError} as {@link openRaw}; as reading the format does: CORRUPT; UNSUPPORTED for formats that are not read,
 * or not written; UNSAFE (`reason`: `other-file`) when the image names another file, and nobody has said its format; for
 * writing, UNSAFE (`reason`: `backing-of`) when another image in its folder stands on it, and as opening the format to be changed
 */
export async function openImage(path: string, options: OpenOptions): Promise<BlockDevice> {
  const { format, access, signal } = options;
  const guard = format === undefined && access === 'write' ? formatGuard() : undefined;
  const file = await openRaw(path, { ...options, guard });
  try {
    if (signal?.aborted) throw DiskError.cancelled(signal);
    const found = format ?? (await detectImageFormat(file));
    if (access === 'write') await refuseBackingOf(path, file, options.onWarning);
    if (found === 'raw' && format === undefined) await warnOfFooter(path, file, options);
    const disk = await openFormat(path, file, found, options);
    if (disk !== file) files.set(disk, file);
    if (isImageFormat(found)) formats.set(disk, found);
    return disk;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function refuseBackingOf(path: string, file: BlockDevice, onWarning: OpenOptions['onWarning']): Promise<void> {
  const overlays = await import('./overlays-beside.js');
  await overlays.refuseBackingOf(path, file, onWarning);
}

/** Each is loaded for those who need it alone. */
async function openFormat(path: string, file: BlockDevice, found: string, options: OpenOptions): Promise<BlockDevice> {
  const { format, access, snapshot } = options;
  const trusted = format !== undefined;
  if (found !== 'qcow2' && snapshot !== undefined) {
    const message = `${path}: is a ${found} image, of which no snapshots inside are read`;
    throw new DiskError('USAGE', message, { device: path });
  }
  if (found === 'raw') return file;
  if (found !== 'qcow2') {
    if (access === 'write' || !isForeignFormat(found)) throw onlyRead(path, found);
    if (options.shrinks === true) options.onWarning?.(wouldBeRefused(onlyRead(path, found)));
    const { openForeign } = await import('./foreign/open-foreign.js');
    return await openForeign(path, file, found, { ...options, trusted });
  }
  if (access === 'read') {
    if (options.shrinks === true) await warnOfRefusal(path, file, { ...options, trusted });
    const { openQcow2Chain } = await import('./qcow2/open-chain.js');
    return await openQcow2Chain(path, file, { ...options, trusted });
  }
  if (snapshot !== undefined) {
    throw new DiskError('USAGE', `${path}: a snapshot is only read, never changed: ${readingInstead}`, {
      device: path,
    });
  }
  const { openQcow2InPlace } = await import('./qcow2/open-in-place.js');
  return await openQcow2InPlace(path, file, { ...options, trusted });
}

/** A fixed VHD image is a raw one with a footer behind it, which nothing at its start tells. */
async function warnOfFooter(path: string, file: BlockDevice, { onWarning, signal }: OpenOptions): Promise<void> {
  if (onWarning === undefined || !(await endsAsVhd(file, { signal }))) return;
  onWarning(`${path}: ends like a fixed VHD image: say --format vpc if it is one, or its last 512 bytes count as disk`);
}

/** Before a change that is only tried out: what would stand in its way. */
async function warnOfRefusal(path: string, file: BlockDevice, options: OpenInPlaceOptions): Promise<void> {
  const { checkInPlace } = await import('./qcow2/open-in-place.js');
  try {
    await refuseBackingOf(path, file, undefined);
    await checkInPlace(path, file, options);
  } catch (error) {
    if (!hasCode(error, 'UNSAFE')) throw error;
    options.onWarning?.(wouldBeRefused(error));
  }
}

const wouldBeRefused = ({ message }: DiskError) => `would be refused in place: ${message}`;

function onlyRead(path: string, format: string): DiskError {
  return new DiskError(
    'UNSUPPORTED',
    `${path}: is a ${format} image, which is not changed in place: ${readingInstead}`,
    { device: path, reason: `format-${format}` },
  );
}
