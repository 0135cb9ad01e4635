import type { BlockDevice } from '../../device/block-device.js';
import { detectImageFormat } from '../image-format.js';
import type { OpenRawOptions } from '../open-raw.js';
import { type Above, besides, checkLink, foreignBelow, keyOf, openPart, refuseOthers } from './parts.js';
import { openQcow2, readQcow2Header } from './qcow2.js';

export interface OpenChainOptions extends Omit<OpenRawOptions, 'access'> {
  /** The user said that it is a qcow2 image. A guest can write a header too, and name any file of the host in it. */
  readonly trusted: boolean;
  readonly snapshot?: string | undefined;
}

/**
 * Opens a qcow2 image with what it stands on: its backing files, whose names count from its own folder, and its data
 * file. All are only read, and locked as the image is.
 *
 * @param file its bytes, closed with the device; when this rejects they stay open
 * @throws {DiskError} UNSAFE (`reason`: `other-file`) when it names another file and is not trusted; UNSUPPORTED for other
 * formats below, and for names with a protocol; CORRUPT for a circle; what {@link openQcow2} and {@link openRaw} throw
 */
export function openQcow2Chain(path: string, file: BlockDevice, options: OpenChainOptions): Promise<BlockDevice> {
  return openLink(path, file, options, []);
}

async function openLink(
  path: string,
  file: BlockDevice,
  options: OpenChainOptions,
  above: Above,
): Promise<BlockDevice> {
  const { trusted, snapshot, signal, onWarning } = options;
  const key = keyOf(file);
  checkLink(path, key, above);
  const header = await readQcow2Header(file, { signal });
  if (!trusted) refuseOthers(path, header, above);
  if (header.corrupt) onWarning?.(`${path}: QEMU has found it damaged: check it with qemu-img check`);
  const parts: { backing?: BlockDevice; dataFile?: BlockDevice } = {};
  try {
    if (header.dataFile?.name !== undefined) {
      const place = besides(path, header.dataFile.name, 'data file');
      parts.dataFile = await openPart(path, place, 'data file', options);
    }
    if (header.backingFile !== undefined) {
      parts.backing = await openBacking(path, header.backingFile, header.backingFormat, options, [
        ...above,
        { path, key },
      ]);
    }
    return await openQcow2(file, { ...parts, snapshot, signal });
  } catch (error) {
    await parts.dataFile?.close();
    await parts.backing?.close();
    throw error;
  }
}

async function openBacking(
  path: string,
  name: string,
  format: string | undefined,
  options: OpenChainOptions,
  above: Above,
): Promise<BlockDevice> {
  const place = besides(path, name, 'backing file');
  const file = await openPart(path, place, 'backing file', options);
  try {
    const found = format ?? (await detectImageFormat(file));
    if (found === 'raw') return file;
    if (found !== 'qcow2') throw foreignBelow(path, place, found);
    // What was only found out is not believed any further.
    return await openLink(place, file, { ...options, trusted: format !== undefined, snapshot: undefined }, above);
  } catch (error) {
    await file.close();
    throw error;
  }
}
