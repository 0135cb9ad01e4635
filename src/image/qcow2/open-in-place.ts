import type { BlockDevice } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { dropQemuLock } from '../../host/qemu-lock.js';
import { detectImageFormat } from '../image-format.js';
import { type FormatNode, fileNode } from '../qemu/block-node.js';
import { openByQemu } from '../qemu/qemu-nbd.js';
import type { OpenChainOptions } from './open-chain.js';
import { type Above, besides, checkLink, foreignBelow, keyOf, openPart, refuseOthers } from './parts.js';
import { type Qcow2Header, readQcow2Header } from './qcow2.js';

export interface OpenInPlaceOptions extends Omit<OpenChainOptions, 'snapshot' | 'forceShare'> {
  /** It is to be made smaller: what keeps that from working is refused. */
  readonly shrinks?: boolean | undefined;
}

/**
 * Opens a qcow2 image to be changed, by QEMU's own hand: its code is what the format is.
 *
 * @param file its bytes, open for writing, so that nobody else has it; closed with the device. When this rejects it is to
 * be closed: some of its locks may be gone
 * @throws {DiskError} UNSAFE (`reason`: `dirty`, `corrupt`, `encrypted`, `data-file`, `other-file`; when it is to shrink
 * `snapshots`, `backing-file`); BUSY; NOT_FOUND without qemu-nbd; as opening its backing files and {@link openByQemu}
 */
export async function openQcow2InPlace(
  path: string,
  file: BlockDevice,
  options: OpenInPlaceOptions,
): Promise<BlockDevice> {
  const { signal, onWarning } = options;
  const node = fileNode(path, file);
  const header = await checkInPlace(path, file, options);
  const owned: BlockDevice[] = [];
  try {
    const backing = await backingNode(path, header, options, owned, [{ path, key: keyOf(file) }]);
    const fd = file.facts.hostFile?.fd;
    // Our flock stays, against other disktools; QEMU takes its own locks, and fails when somebody else was quicker.
    if (fd !== undefined) dropQemuLock(fd);
    const disk = await openByQemu({
      path,
      node: { driver: 'qcow2', file: node, backing },
      access: 'write',
      blockSize: header.clusterSize,
      owned: [file, ...owned],
      signal,
      onWarning,
    });
    try {
      // Between our locks and QEMU's somebody may have come and gone.
      const now = await checkInPlace(path, file, options);
      if (now.backingFile !== header.backingFile || now.size !== header.size) {
        throw new DiskError('BUSY', `${path}: was changed while it was opened: try again`, { device: path });
      }
      return disk;
    } catch (error) {
      await disk.close();
      throw error;
    }
  } catch (error) {
    for (const device of owned) await device.close();
    throw error;
  }
}

/**
 * Whether {@link openQcow2InPlace} would refuse an image for its state.
 *
 * @returns the header, if not
 * @throws {DiskError} as that does
 */
export async function checkInPlace(path: string, file: BlockDevice, options: OpenInPlaceOptions): Promise<Qcow2Header> {
  const header = await readQcow2Header(file, { signal: options.signal });
  refuseState(path, header, options);
  if (!options.trusted) refuseOthers(path, header);
  return header;
}

/** What QEMU would refuse, repair unasked, or do for nothing. */
function refuseState(path: string, header: Qcow2Header, { shrinks = false, force = false }: OpenInPlaceOptions): void {
  const refuse = (reason: string, why: string) => {
    throw new DiskError('UNSAFE', `${path}: ${why}`, { device: path, reason });
  };
  const { snapshotCount: snapshots } = header;
  if (header.encryption !== 'none') refuse('encrypted', 'is encrypted: decrypt it with qemu-img convert');
  if (header.corrupt) refuse('corrupt', 'QEMU has found it damaged: repair it first: qemu-img check -r all');
  if (header.dirty) refuse('dirty', 'was not closed in good order: repair it first: qemu-img check -r all');
  if (header.dataFile !== undefined) refuse('data-file', 'keeps its data in another file: convert it, or copy it');
  if (!shrinks) return;
  if (snapshots > 0) {
    const which = snapshots === 1 ? 'an internal snapshot, which keeps' : `${snapshots} internal snapshots, which keep`;
    refuse(
      'snapshots',
      `holds ${which} what is given back: delete them first, or make a small copy: sparsify --output`,
    );
  }
  if (header.backingFile !== undefined && !force) {
    const only = 'only what it holds itself can be given back, and what lies below stays';
    refuse('backing-file', `stands on ${header.backingFile}: ${only}: say --force if that is enough`);
  }
}

/** What an image stands on, with nothing left for QEMU to guess or to find; each file is open, and locked for reading. */
async function backingNode(
  path: string,
  { backingFile, backingFormat }: Qcow2Header,
  options: OpenInPlaceOptions,
  owned: BlockDevice[],
  above: Above,
): Promise<FormatNode | null> {
  if (backingFile === undefined) return null;
  const { signal, onWarning } = options;
  const place = besides(path, backingFile, 'backing file');
  const file = await openPart(path, place, 'backing file', { signal, onWarning });
  owned.push(file);
  const key = keyOf(file);
  checkLink(place, key, above);
  const found = backingFormat ?? (await detectImageFormat(file));
  if (found === 'raw') return { driver: 'raw', file: fileNode(place, file) };
  if (found !== 'qcow2') throw foreignBelow(path, place, found);
  const header = await readQcow2Header(file, { signal });
  // What was only found out is not believed any further.
  if (backingFormat === undefined) refuseOthers(place, header, above);
  if (header.dataFile !== undefined) {
    const message = `${place}: keeps its data in another file, which is not opened below ${path}`;
    throw new DiskError('UNSUPPORTED', message, { device: place, reason: 'data-file' });
  }
  const backing = await backingNode(place, header, options, owned, [...above, { path: place, key }]);
  return { driver: 'qcow2', file: fileNode(place, file), backing };
}
