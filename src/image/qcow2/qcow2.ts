import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { type Qcow2Header, readQcow2Header } from './header.js';
import { qcow2Header } from './on-disk.js';
import { Qcow2Device } from './qcow2-device.js';
import { findSnapshot, readQcow2Snapshots, snapshotL1 } from './snapshots.js';
import { Tables } from './tables.js';

export { type Qcow2Header, readQcow2Header } from './header.js';
export { Qcow2Device } from './qcow2-device.js';
export { type Qcow2Snapshot, readQcow2Snapshots } from './snapshots.js';

export interface OpenQcow2Options extends RequestOptions {
  /** In every error; `qcow2 of a.img` without one. */
  readonly name?: string | undefined;
  /** What the image does not hold itself, as a disk: shorter or longer than the image. */
  readonly backing?: BlockDevice | undefined;
  /** Where its clusters lie, as plain bytes, when they do not lie in the image. */
  readonly dataFile?: BlockDevice | undefined;
  /** The ID or the name of an internal snapshot to be shown instead of the current disk. */
  readonly snapshot?: string | undefined;
}

/**
 * Opens the virtual disk of a qcow2 image, for reading only. Which files belong to it is the caller's to decide, by what
 * {@link readQcow2Header} says. Closing the device closes all that it was given; when it cannot be opened, all of it
 * stays open.
 *
 * @throws {DiskError} CORRUPT; UNSUPPORTED for encryption, unknown features and sizes past QEMU's; NOT_FOUND without its
 * snapshot, backing or data file; USAGE with a data file for an image that has none
 */
export async function openQcow2(file: BlockDevice, options: OpenQcow2Options = {}): Promise<Qcow2Device> {
  const { backing, dataFile, snapshot: wanted, signal } = options;
  const header = await readQcow2Header(file, { signal });
  refuseEncryption(file, header);
  checkParts(file, header, options);
  const snapshot =
    wanted === undefined
      ? undefined
      : findSnapshot(await readQcow2Snapshots(file, header, { signal }), wanted, file.name);
  const l1 = snapshot === undefined ? header.places.l1 : snapshotL1(file, header, snapshot);
  const tables = await Tables.read(file, l1, header.clusterSize, { signal });
  const shown = snapshot === undefined ? 'qcow2' : `snapshot ${snapshot.name || snapshot.id} in qcow2`;
  return new Qcow2Device({
    name: options.name ?? `${shown} of ${file.name}`,
    file,
    header,
    tables,
    size: snapshot?.diskSize ?? header.size,
    backing,
    dataFile,
    snapshot,
  });
}

function refuseEncryption({ name }: BlockDevice, { encryption }: Qcow2Header): void {
  if (encryption === 'none') return;
  throw DiskError.unsupported({
    structure: qcow2Header.name,
    offset: 0n,
    device: name,
    field: 'crypt_method',
    actual: encryption,
    expected: 'none: disktool reads no encrypted images, decrypt it with qemu-img convert',
  });
}

/** Without one of its files, the image would seem to hold zeros. */
function checkParts({ name }: BlockDevice, header: Qcow2Header, { backing, dataFile }: OpenQcow2Options): void {
  if (header.backingFile !== undefined && backing === undefined) {
    throw new DiskError('NOT_FOUND', `${name}: needs its backing file ${header.backingFile}`, {
      device: name,
      reason: 'backing-file',
    });
  }
  if (header.dataFile !== undefined && dataFile === undefined) {
    const named = header.dataFile.name === undefined ? ', which it does not name' : ` ${header.dataFile.name}`;
    throw new DiskError('NOT_FOUND', `${name}: needs its data file${named}`, { device: name, reason: 'data-file' });
  }
  if (header.dataFile === undefined && dataFile !== undefined) {
    throw new DiskError('USAGE', `${name}: holds its clusters itself, and takes no data file`, { device: name });
  }
}
