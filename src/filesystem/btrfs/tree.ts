import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import type { ChunkMap } from './chunk-map.js';
import { compareKeys, type Key, lowestKey, nameOfKey, type TreeNode } from './node.js';
import type { TreeRoot } from './superblock.js';
import type { BtrfsVolume } from './volume.js';

export interface TreeOptions {
  /** What of the tree is before this key may be left out. */
  readonly from?: Key | undefined;
  /** Those that are known, while the others are not. */
  readonly chunks?: ChunkMap | undefined;
}

/** A node on the way down. */
interface Step {
  readonly node: TreeNode;
  next: number;
  /** What is in it comes before this. */
  readonly end: Key | undefined;
}

/**
 * The blocks of a tree, each before what is below it, in the order of its keys.
 *
 * It ends, whatever the disk says: each block begins with the key that its pointer gives, which all differ, so that none
 * comes twice.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* treeNodes(
  volume: BtrfsVolume,
  root: TreeRoot,
  options: RequestOptions,
  { from = lowestKey, chunks }: TreeOptions = {},
): AsyncGenerator<TreeNode, void, undefined> {
  const start = { ...volume.place('root of a tree', 0n), field: 'bytenr' };
  const first = await volume.node(root, start, options, chunks);
  checkOwner(first, root);
  yield first;
  const steps: Step[] = [{ node: first, next: first.indexOf(from), end: undefined }];
  for (let step = steps.at(-1); step !== undefined; step = steps.at(-1)) {
    const { node, next, end } = step;
    if (node.level === 0 || next === node.count) {
      steps.pop();
      continue;
    }
    step.next++;
    const { block, generation } = node.pointer(next);
    const child = await volume.node({ block, generation, level: node.level - 1 }, node.place, options, chunks);
    checkOwner(child, root);
    const own = next + 1 === node.count ? end : node.key(next + 1);
    checkKeys(child, node.key(next), own);
    yield child;
    steps.push({ node: child, next: child.level === 0 ? 0 : child.indexOf(from), end: own });
  }
}

function checkOwner({ owner, place }: TreeNode, root: TreeRoot): void {
  if (root.owner === undefined || owner === root.owner) return;
  throw DiskError.corrupt({ ...place, field: 'owner', actual: owner, expected: root.owner });
}

function checkKeys(child: TreeNode, first: Key, end: Key | undefined): void {
  const wrong = (field: string, key: string, expected: string) =>
    DiskError.corrupt({ ...child.place, field, actual: key, expected });
  if (child.count === 0) throw wrong('nritems', '0', 'at least 1');
  if (compareKeys(child.key(0), first) !== 0) throw wrong('first key', nameOfKey(child.key(0)), nameOfKey(first));
  const last = child.key(child.count - 1);
  if (end !== undefined && compareKeys(last, end) >= 0) {
    throw wrong('last key', nameOfKey(last), `one before ${nameOfKey(end)}`);
  }
}

/** An item of a leaf. */
export interface Item {
  readonly key: Key;
  /** A part of the leaf's memory. */
  readonly data: Uint8Array;
  /** Where the data lie on the device: of their first copy. */
  readonly place: Place & { readonly offset: bigint };
}

/**
 * The items of one object and type, from an offset on, in the order of their offsets.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* itemsOf(
  volume: BtrfsVolume,
  root: TreeRoot,
  from: Key,
  options: RequestOptions,
): AsyncGenerator<Item, void, undefined> {
  for await (const node of treeNodes(volume, root, options, { from })) {
    for (let i = node.level === 0 ? node.indexOf(from) : node.count; i < node.count; i++) {
      const key = node.key(i);
      if (compareKeys(key, from) < 0) continue;
      if (key.objectid !== from.objectid || key.type !== from.type) return;
      const place = { ...node.place, offset: node.place.offset + BigInt(node.dataStart(i)) };
      yield { key, data: node.data(i), place };
    }
  }
}

/** The item of a key, if there is one. @throws {DiskError} CORRUPT; IO, CANCELLED */
export async function findItem(
  volume: BtrfsVolume,
  root: TreeRoot,
  key: Key,
  options: RequestOptions,
): Promise<Item | undefined> {
  for await (const item of itemsOf(volume, root, key, options)) {
    return item.key.offset === key.offset ? item : undefined;
  }
  return undefined;
}
