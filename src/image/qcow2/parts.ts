import { fstatSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { identify } from '../../host/file-identity.js';
import { isUri, type OpenRawOptions, openRaw } from '../open-raw.js';
import { hasProtocol } from '../protocol.js';
import type { Qcow2Header } from './header.js';

/** The other files that an image names: where they are, and how they are opened. */

/** Images one over the other; QEMU has no limit, and each takes memory for its tables. */
const longestChain = 64;

/**
 * Opens a file that an image names, to be read.
 *
 * @param what it is to the image: `backing file`
 * @throws {DiskError} NOT_FOUND; as {@link openRaw}
 */
export async function openPart(
  path: string,
  place: string,
  what: string,
  options: Omit<OpenRawOptions, 'access'>,
): Promise<BlockDevice> {
  const { forceShare, onWarning, signal } = options;
  try {
    return await openRaw(place, { access: 'read', forceShare, onWarning, signal });
  } catch (error) {
    if (!hasCode(error, 'NOT_FOUND')) throw error;
    throw new DiskError('NOT_FOUND', `${path}: its ${what} is missing: ${error.message}`, {
      device: path,
      reason: what.replace(' ', '-'),
      cause: error,
    });
  }
}

/**
 * A name in an image, as a path: relative to the image's folder. Never a protocol: `json:` and `nbd:` open anything.
 *
 * @throws {DiskError} UNSUPPORTED (`reason`: `protocol`)
 */
export function besides(path: string, name: string, what: string): string {
  if (hasProtocol(name)) {
    const message = `${path}: names its ${what} by a protocol, which is not followed: ${name}`;
    throw new DiskError('UNSUPPORTED', message, { device: path, reason: 'protocol' });
  }
  if (isAbsolute(name)) return name;
  if (isUri(path)) {
    const message = `${path}: names its ${what} ${name} beside itself, where no file can lie`;
    throw new DiskError('UNSUPPORTED', message, { device: path, reason: 'protocol' });
  }
  return join(dirname(path), name);
}

/** Below a qcow2 image stand raw and qcow2 images alone. */
export function foreignBelow(path: string, place: string, format: string): DiskError {
  const message = `${place}: the backing file of ${path} is a ${format} image, which is not opened below another`;
  return new DiskError('UNSUPPORTED', `${message}: make a whole image of it first: qemu-img convert`, {
    device: place,
    reason: `format-${format}`,
  });
}

/** What makes two images the same file; undefined for what is no file of this machine. */
export function keyOf({ facts: { hostFile } }: BlockDevice): string | undefined {
  return hostFile && identify(fstatSync(hostFile.fd, { bigint: true })).key;
}

/** The images above one, for circles and for messages. */
export type Above = readonly { readonly path: string; readonly key: string | undefined }[];

/**
 * Refuses an image that stands on itself, or on too many others.
 *
 * @throws {DiskError} CORRUPT, UNSUPPORTED
 */
export function checkLink(path: string, key: string | undefined, above: Above): void {
  if (key !== undefined && above.some((image) => image.key === key)) {
    throw new DiskError('CORRUPT', `${path}: its backing files lead back to it`, { device: path, reason: 'circle' });
  }
  if (above.length >= longestChain) {
    const message = `${above[0]?.path ?? path}: stands on more than ${longestChain} images, one over the other`;
    throw new DiskError('UNSUPPORTED', message, { device: path, reason: 'chain' });
  }
}

/**
 * Refuses an image that names another file, and that nobody but its own first bytes calls a qcow2 image.
 *
 * @param above the images that stand on it
 * @throws {DiskError} UNSAFE (`reason`: `other-file`)
 */
export function refuseOthers(path: string, { backingFile, dataFile }: Qcow2Header, above: Above = []): void {
  const other = backingFile ?? (dataFile && (dataFile.name ?? 'a data file'));
  if (other === undefined) return;
  const [top] = above;
  const message =
    top === undefined
      ? `${path}: is a qcow2 image by its first bytes, which a guest may have written, and names another file, ${other}: if it is one, say --format qcow2`
      : `${path}: nothing but its own first bytes says that this backing file of ${top.path} is qcow2, and it names another file, ${other}: record its format: qemu-img rebase -u -F qcow2 -b …`;
  throw new DiskError('UNSAFE', message, { device: path, reason: 'other-file' });
}
