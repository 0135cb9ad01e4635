import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { keyTypes, levels, rootItem } from './on-disk.js';
import type { TreeRoot } from './superblock.js';
import { type Item, itemsOf } from './tree.js';
import type { BtrfsVolume } from './volume.js';

/** What the tree of roots says of a tree. */
export interface RootFacts {
  readonly root: TreeRoot;
  /** 0: it is being deleted. */
  readonly references: number;
  /** Of its root directory. */
  readonly inode: bigint;
}

/**
 * Where a tree begins.
 *
 * @param id its objectid
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function findRoot(
  volume: BtrfsVolume,
  id: bigint,
  options: RequestOptions,
): Promise<RootFacts | undefined> {
  const from = { objectid: id, type: keyTypes.ROOT_ITEM, offset: 0n };
  let last: Item | undefined;
  for await (const item of itemsOf(volume, volume.superblock.rootTree, from, options)) last = item;
  return last === undefined ? undefined : readRoot(last);
}

/** The same of a tree that every filesystem has, and that no other tree shares blocks with. */
export async function ownRoot(volume: BtrfsVolume, id: bigint, options: RequestOptions): Promise<TreeRoot> {
  const found = await findRoot(volume, id, options);
  if (found !== undefined) return { ...found.root, owner: id };
  const place = volume.place('tree of roots', 0n);
  throw DiskError.corrupt({ ...place, field: `tree ${id}`, actual: 'not there', expected: 'there' });
}

/** @throws {DiskError} CORRUPT */
export function readRoot({ data, place }: Item): RootFacts {
  if (data.length < rootItem.size) {
    const expected = `at least ${rootItem.size}`;
    throw DiskError.corrupt({ ...place, field: 'size of a root', actual: data.length, expected });
  }
  const { bytenr, level, generation, refs, root_dirid } = rootItem.at(viewOf(data));
  if (level >= levels)
    throw DiskError.corrupt({ ...place, field: 'level', actual: level, expected: `below ${levels}` });
  return { root: { owner: undefined, block: bytenr, level, generation }, references: refs, inode: root_dirid };
}
