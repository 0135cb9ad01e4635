import { fstatSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { identify } from '../../host/file-identity.js';
import { isUri, type OpenRawOptions, openRaw } from '../open-raw.js';

/** The other files that an image names: where they are, and how they are opened. */

/** Images one over the other; QEMU has no limit, and each takes memory for its tables. */
export const longestChain = 64;

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
  if (/^[^/]*:/.test(name)) {
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

/** What makes two images the same file; undefined for what is no file of this machine. */
export function keyOf({ facts: { hostFile } }: BlockDevice): string | undefined {
  return hostFile && identify(fstatSync(hostFile.fd, { bigint: true })).key;
}
