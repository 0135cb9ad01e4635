import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import { rootDirectory, rootReference } from './file-on-disk.js';
import { keyTypes } from './on-disk.js';
import { findRoot } from './roots.js';
import type { TreeRoot } from './superblock.js';
import { findItem } from './tree.js';
import type { BtrfsVolume } from './volume.js';

/** A tree of files: the first one, a subvolume, or a snapshot. */
export interface Subvolume {
  readonly id: bigint;
  readonly root: TreeRoot;
  /** Inode of its root directory. */
  readonly directory: bigint;
}

/**
 * @param place where its number comes from
 * @throws {DiskError} CORRUPT when there is none of that number; IO, CANCELLED
 */
export async function openSubvolume(
  volume: BtrfsVolume,
  id: bigint,
  place: Place,
  options: RequestOptions,
): Promise<Subvolume> {
  const found = await findRoot(volume, id, options);
  if (found === undefined || found.references === 0) {
    throw DiskError.corrupt({ ...place, actual: id, expected: 'a subvolume that there is' });
  }
  if (found.inode !== rootDirectory) {
    throw DiskError.corrupt({ ...place, field: 'root_dirid', actual: found.inode, expected: rootDirectory });
  }
  return { id, root: found.root, directory: found.inode };
}

/**
 * Whether a subvolume is what an entry of a directory leads to. A snapshot has the entries of what it was made of, and
 * not the subvolumes: there the kernel shows an empty directory.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function isSubvolumeHere(
  volume: BtrfsVolume,
  { parent, directory, child, name }: { parent: Subvolume; directory: bigint; child: bigint; name: Uint8Array },
  options: RequestOptions,
): Promise<boolean> {
  const key = { objectid: parent.id, type: keyTypes.ROOT_REF, offset: child };
  const found = await findItem(volume, volume.superblock.rootTree, key, options);
  if (found === undefined) return false;
  const { data, place } = found;
  if (data.length < rootReference.size) {
    const expected = `at least ${rootReference.size}`;
    throw DiskError.corrupt({ ...place, field: 'size of a root reference', actual: data.length, expected });
  }
  const { dirid, name_len } = rootReference.at(viewOf(data));
  const own = data.subarray(rootReference.size);
  if (name_len !== own.length) {
    throw DiskError.corrupt({ ...place, field: 'name_len', actual: name_len, expected: own.length });
  }
  return dirid === directory && Buffer.compare(own, name) === 0;
}
