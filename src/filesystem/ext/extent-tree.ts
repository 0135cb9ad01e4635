import { rawCrc32c } from '../../binary/crc.js';
import { bytesOf, viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import type { BlockRun } from './block-runs.js';
import {
  extent,
  extentHeader,
  extentIndex,
  extentMagic,
  extentTail,
  fileBlockLimit,
  largestExtentDepth,
  largestWrittenExtent,
} from './file-on-disk.js';
import type { Inode } from './inode.js';
import { roCompat } from './on-disk.js';
import type { ExtVolume } from './volume.js';

/** A node that is to be read, and the blocks of the file that it may speak of. */
interface Node {
  readonly view: DataView;
  readonly depth: number;
  /** The file's blocks, half-open. */
  readonly start: number;
  readonly end: number;
  readonly place: Place;
}

/**
 * The extents of an inode, and the nodes of their tree, in the order of the file; those of a leaf in one go.
 *
 * It ends, whatever the disk says: each level is one less deep than the one above, and the entries of a node cover
 * ascending parts of what its parent gave to it. So no node with entries comes twice, and a node without is a leaf.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* readExtentTree(
  volume: ExtVolume,
  inode: Inode,
  options: RequestOptions,
): AsyncGenerator<readonly BlockRun[], void, undefined> {
  const view = viewOf(inode.raw.i_block);
  const { depth, count } = checkHeader(view, undefined, inode.place);
  const place = { ...inode.place, structure: `extent tree of ${inode.place.structure}` };
  const root: Node = { view, depth, start: 0, end: fileBlockLimit, place };
  // Most files end here.
  if (depth === 0) yield readLeaf(volume, root, count);
  else yield* readNode(volume, inode, root, options);
}

async function* readNode(
  volume: ExtVolume,
  inode: Inode,
  node: Node,
  options: RequestOptions,
): AsyncGenerator<readonly BlockRun[], void, undefined> {
  const { view, depth, end, place } = node;
  const { count } = checkHeader(view, depth, place);
  if (depth === 0) {
    yield readLeaf(volume, node, count);
    return;
  }
  let before = node.start - 1;
  for (let i = 0; i < count; i++) {
    const entry = indexAt(view, i);
    const start = entry.ei_block;
    const next = i + 1 < count ? indexAt(view, i + 1).ei_block : end;
    if (start <= before || next > end) throw outOfOrder(place, 'ei_block', start, before + 1, end);
    before = start;
    const block = entry.ei_leaf_hi * 2 ** 32 + entry.ei_leaf_lo;
    const child = await volume.block(block, { ...place, field: 'ei_leaf' }, options);
    const childPlace = volume.place(`extent tree of ext4 inode ${inode.number}`, block);
    const below: Node = { view: viewOf(child), depth: depth - 1, start, end: next, place: childPlace };
    checkHeader(below.view, below.depth, childPlace);
    checkChecksum(volume, inode, below);
    yield [{ role: 'map', fileBlock: start, block, count: 1, unwritten: false }];
    yield* readNode(volume, inode, below, options);
  }
}

function readLeaf(volume: ExtVolume, { view, start, end, place }: Node, count: number): readonly BlockRun[] {
  const runs: BlockRun[] = [];
  let from = start;
  for (let i = 0; i < count; i++) {
    const entry = extent.at(view, extentHeader.size + i * extent.size);
    const { ee_block: fileBlock, ee_len: said } = entry;
    const unwritten = said > largestWrittenExtent;
    const length = unwritten ? said - largestWrittenExtent : said;
    if (length === 0) throw DiskError.corrupt({ ...place, field: 'ee_len', actual: 0, expected: 'at least 1' });
    if (fileBlock < from || fileBlock + length > end)
      throw outOfOrder(place, 'ee_block', fileBlock, from, end - length);
    from = fileBlock + length;
    const block = entry.ee_start_hi * 2 ** 32 + entry.ee_start_lo;
    volume.checkBlocks(block, length, { ...place, field: 'ee_start' });
    runs.push({ role: 'content', fileBlock, block, count: length, unwritten });
  }
  return runs;
}

function indexAt(view: DataView, i: number) {
  return extentIndex.at(view, extentHeader.size + i * extentIndex.size);
}

/** @param expected the depth that it must have; undefined: any */
function checkHeader(
  view: DataView,
  expected: number | undefined,
  place: Place,
): { readonly count: number; readonly depth: number } {
  const { eh_magic: magic, eh_entries: count, eh_max: room, eh_depth: depth } = extentHeader.at(view);
  const wrong = (field: string, actual: string | number, wanted: string | number) =>
    DiskError.corrupt({ ...place, field, actual, expected: wanted });
  if (magic !== extentMagic) throw wrong('eh_magic', hex(magic), hex(extentMagic));
  if (expected !== undefined && depth !== expected) throw wrong('eh_depth', depth, expected);
  if (depth > largestExtentDepth) throw wrong('eh_depth', depth, `at most ${largestExtentDepth}`);
  const largest = Math.floor((view.byteLength - extentHeader.size) / extent.size);
  if (room === 0 || room > largest) throw wrong('eh_max', room, `1 to ${largest}`);
  if (count > room) throw wrong('eh_entries', count, `at most ${room}`);
  if (count === 0 && depth > 0) throw wrong('eh_entries', 0, 'at least 1 above the leaves');
  return { count, depth };
}

/** The checksum stands behind the room for entries: its header is checked already. */
function checkChecksum({ superblock }: ExtVolume, inode: Inode, { view, place }: Node): void {
  if (!roCompat.has(superblock.roCompat, 'metadata_csum')) return;
  const end = extentHeader.size + extentHeader.at(view).eh_max * extent.size;
  if (end + extentTail.size > view.byteLength) {
    throw DiskError.corrupt({ ...place, field: 'eh_max', expected: 'less: there is no room for a checksum' });
  }
  const expected = rawCrc32c(inode.checksumSeed, bytesOf(view).subarray(0, end));
  const actual = extentTail.at(view, end).et_checksum;
  if (actual !== expected) {
    throw DiskError.corrupt({ ...place, field: 'et_checksum', actual: hex(actual), expected: hex(expected) });
  }
}

function outOfOrder(place: Place, field: string, actual: number, first: number, last: number): DiskError {
  return DiskError.corrupt({ ...place, field, actual, expected: `${first} to ${last}, in ascending order` });
}
