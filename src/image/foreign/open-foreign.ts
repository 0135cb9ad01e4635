import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { ForeignFormat } from '../image-format.js';
import type { OpenRawOptions } from '../open-raw.js';
import { hasProtocol } from '../protocol.js';
import { type FormatNode, fileNode, standalone } from '../qemu/block-node.js';
import { checkByQemu } from '../qemu/check-image.js';
import { openByQemu } from '../qemu/qemu-nbd.js';
import { findOthers } from './find-others.js';

export interface OpenForeignOptions extends Omit<OpenRawOptions, 'access'> {
  /** The user said the format. A guest can write a header too, and name any file of the host in it. */
  readonly trusted: boolean;
}

/** Formats that are known by so little that whoever means them says so. */
const onlySaid: readonly ForeignFormat[] = ['qcow', 'bochs', 'cloop', 'dmg'];
/** Formats of which QEMU reads zeros where the file was cut short, unless it is asked to check them. */
const checked: readonly ForeignFormat[] = ['vmdk', 'parallels', 'qed', 'vhdx'];
/** Extents of a VMDK descriptor; VMware's own have one for each 2 GB. */
const mostExtents = 4096;

/**
 * Opens an image of a format that QEMU reads for us, after a look of our own at its header.
 *
 * @param file its bytes, locked for reading; closed with the device. When this rejects it stays open
 * @throws {DiskError} when the format was not said, UNSAFE (`reason`: `other-file`) of one that names another file, or is
 * text, and (`reason`: `format`) of a format that has to be; UNSUPPORTED (`reason`: `backing-file`, `protocol`, `extent`,
 * `extents`, `not-a-file`); CORRUPT; as {@link openByQemu}
 */
export async function openForeign(
  path: string,
  file: BlockDevice,
  format: ForeignFormat,
  options: OpenForeignOptions,
): Promise<BlockDevice> {
  const { trusted, forceShare, signal, onWarning } = options;
  const place = fileNode(path, file);
  if (!trusted && onlySaid.includes(format)) {
    const message = `${path}: is a ${format} image by its first bytes, which a guest may have written: if it is one, say --format ${format}`;
    throw new DiskError('UNSAFE', message, { device: path, reason: 'format' });
  }
  const { parent, extents, flat = [] } = await findOthers[format](file, { signal });
  if (parent !== undefined) throw refuseParent(path, format, parent, trusted);
  if (extents !== undefined) checkExtents(path, format, extents, trusted);
  for (const { name, end } of flat) await refuseCut(path, resolve(dirname(path), name), end);
  const node: FormatNode = {
    // The names in a descriptor count from its own folder.
    ...standalone(format, extents === undefined ? place : { ...place, filename: resolve(path) }),
    // Each extent that we have seen is a file; one that we have not seen makes QEMU say so.
    ...Object.fromEntries((extents ?? []).map((_, i) => [`extents.${i}.driver`, 'file'])),
    ...(forceShare === true ? { 'force-share': true } : {}),
  };
  if (checked.includes(format)) await checkByQemu(path, node, signal);
  if (onlySaid.includes(format)) {
    onWarning?.(`${path}: nobody can tell whether a ${format} image was cut short: it reads as zeros where it was`);
  }
  return await openByQemu({ path, node, access: 'read', owned: [file], signal, onWarning });
}

/** What an image stands on is never opened, nor passed over: it holds a part of the disk. */
function refuseParent(path: string, format: string, parent: string, trusted: boolean): DiskError {
  const flatten = `make it whole where it comes from, or with qemu-img convert -f ${format}`;
  if (!trusted) {
    const message = `${path}: is a ${format} image by its first bytes, which a guest may have written, and stands on another, ${parent}: if you know both, ${flatten}`;
    return new DiskError('UNSAFE', message, { device: path, reason: 'other-file' });
  }
  const protocol = hasProtocol(parent);
  const message = protocol
    ? `${path}: names what it stands on by a protocol, which is not followed: ${parent}`
    : `${path}: stands on another image, ${parent}, which disktool does not open below a ${format} image: ${flatten}`;
  return new DiskError('UNSUPPORTED', message, { device: path, reason: protocol ? 'protocol' : 'backing-file' });
}

function checkExtents(path: string, format: string, extents: readonly string[], trusted: boolean): void {
  if (!trusted) {
    const named = extents[0] === undefined ? 'is text that can name other files' : `names another file, ${extents[0]}`;
    const message = `${path}: is a ${format} image by its first bytes, which a guest may have written, and ${named}: if it is one, say --format ${format}`;
    throw new DiskError('UNSAFE', message, { device: path, reason: 'other-file' });
  }
  const wrong = extents.find(hasProtocol);
  if (wrong !== undefined) {
    const message = `${path}: names an extent by a protocol, which is not followed: ${wrong}`;
    throw new DiskError('UNSUPPORTED', message, { device: path, reason: 'protocol' });
  }
  if (extents.length > mostExtents) {
    const message = `${path}: has ${extents.length} extents, more than ${mostExtents}`;
    throw new DiskError('UNSUPPORTED', message, { device: path, reason: 'extents' });
  }
}

/** An extent that is shorter than the disk's part in it: QEMU would read zeros behind its end. */
async function refuseCut(path: string, extent: string, end: bigint): Promise<void> {
  // QEMU says of one that is not there, or is no file.
  const stats = await stat(extent, { bigint: true }).catch(() => undefined);
  if (stats === undefined || !stats.isFile() || stats.size >= end) return;
  const message = `${path}: its extent ${extent} has ${stats.size} of ${end} bytes: it was cut short`;
  throw new DiskError('CORRUPT', message, { device: path, reason: 'damaged' });
}
