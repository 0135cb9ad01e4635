import type { BlockDevice } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { detectImageFormat } from '../image-format.js';
import type { OpenRawOptions } from '../open-raw.js';
import { besides, keyOf, longestChain, openPart } from './parts.js';
import { openQcow2, type Qcow2Header, readQcow2Header } from './qcow2.js';

export interface OpenChainOptions extends Omit<OpenRawOptions, 'access'> {
  /** The user said that it is a qcow2 image. A guest can write a header too, and name any file of the host in it. */
  readonly trusted: boolean;
  readonly snapshot?: string | undefined;
}

/** The images above one, for circles and for messages. */
type Above = readonly { readonly path: string; readonly key: string | undefined }[];

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
  if (key !== undefined && above.some((image) => image.key === key)) {
    throw new DiskError('CORRUPT', `${path}: its backing files lead back to it`, { device: path, reason: 'circle' });
  }
  if (above.length >= longestChain) {
    const message = `${above[0]?.path ?? path}: stands on more than ${longestChain} images, one over the other`;
    throw new DiskError('UNSUPPORTED', message, { device: path, reason: 'chain' });
  }
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
    if (found !== 'qcow2') {
      const message = `${place}: the backing file of ${path} is a ${found} image, which disktool does not read yet`;
      throw new DiskError('UNSUPPORTED', message, { device: place, reason: `format-${found}` });
    }
    // What was only found out is not believed any further.
    return await openLink(place, file, { ...options, trusted: format !== undefined, snapshot: undefined }, above);
  } catch (error) {
    await file.close();
    throw error;
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
