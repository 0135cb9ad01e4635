import { toNumber } from '../../binary/convert.js';
import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import {
  extentBits,
  extentRecordSize,
  extentTreeMagics,
  longHeader,
  longHeaderV5,
  noLongBlock,
  treeKeySize,
  treePointerSize,
  treeRoot,
} from './file-on-disk.js';
import { checkIdentity } from './identity.js';
import type { Fork, Inode } from './inode.js';
import { largestTreeHeight, roCompat } from './on-disk.js';
import { Siblings } from './siblings.js';
import type { XfsVolume } from './volume.js';

/** Blocks of the device that belong to a fork. */
export interface BlockRun {
  /** `content`: blocks of the fork itself. `map`: those that say where its blocks lie. */
  readonly role: 'content' | 'map';
  /** Of the fork: the first; 0 for a map. */
  readonly fileBlock: number;
  /** Of the device. */
  readonly block: number;
  readonly count: number;
  /** Set aside and never written: reads as zeros whatever lies there. */
  readonly unwritten: boolean;
}

/**
 * Where the blocks of a fork lie: content in ascending order, joined where it goes on, and the blocks of its map before
 * what they cover. What is named nowhere is a hole.
 *
 * @throws {DiskError} CORRUPT, also for a fork that lies in its inode; IO, CANCELLED
 */
export async function* blockRuns(
  volume: XfsVolume,
  inode: Inode,
  fork: Fork,
  options: RequestOptions,
): AsyncGenerator<BlockRun, void, undefined> {
  const { blockCount, roCompat: features } = volume.superblock;
  // A block is one block of one file, unless files share: what is in directories, links and attributes, nobody shares.
  const shared = roCompat.has(features, 'REFLINK') && inode.type === 'file' && fork === inode.data;
  let total = 0;
  let extents = 0;
  let pending: BlockRun | undefined;
  for await (const run of extentsOf(volume, inode, fork, options)) {
    if (run.role === 'map') {
      yield run;
      continue;
    }
    extents++;
    total += run.count;
    if (total > blockCount && !shared) {
      throw DiskError.corrupt({
        ...inode.place,
        field: 'its blocks',
        actual: total,
        expected: `at most ${blockCount}`,
      });
    }
    if (pending !== undefined && run.fileBlock < pending.fileBlock + pending.count) {
      const expected = `at least ${pending.fileBlock + pending.count}`;
      throw DiskError.corrupt({ ...inode.place, field: 'br_startoff', actual: run.fileBlock, expected });
    }
    if (pending !== undefined && goesOn(pending, run)) pending = { ...pending, count: pending.count + run.count };
    else {
      if (pending !== undefined) yield pending;
      pending = run;
    }
  }
  if (pending !== undefined) yield pending;
  if (extents === fork.extentCount) return;
  const expected = `${extents}, as there are`;
  throw DiskError.corrupt({ ...inode.place, field: 'di_nextents', actual: fork.extentCount, expected });
}

function goesOn(a: BlockRun, b: BlockRun): boolean {
  return a.fileBlock + a.count === b.fileBlock && a.block + a.count === b.block && a.unwritten === b.unwritten;
}

async function* extentsOf(
  volume: XfsVolume,
  inode: Inode,
  fork: Fork,
  options: RequestOptions,
): AsyncGenerator<BlockRun, void, undefined> {
  switch (fork.format) {
    case 'extents': {
      const room = Math.floor(fork.bytes.length / extentRecordSize);
      if (fork.extentCount > room) {
        const expected = `at most ${room}`;
        throw DiskError.corrupt({ ...inode.place, field: 'di_nextents', actual: fork.extentCount, expected });
      }
      yield* recordsIn(volume, viewOf(fork.bytes), 0, fork.extentCount, inode.place);
      return;
    }
    case 'btree':
      yield* new ExtentTree(volume, inode, options).from(fork);
      return;
    case 'device':
    case 'local':
      throw DiskError.corrupt({ ...inode.place, field: 'format of its fork', actual: fork.format, expected: 'a map' });
  }
}

function* recordsIn(
  volume: XfsVolume,
  view: DataView,
  start: number,
  count: number,
  place: Place,
): Generator<BlockRun> {
  for (let i = 0; i < count; i++) {
    const at = start + i * extentRecordSize;
    const record = (view.getBigUint64(at) << 64n) | view.getBigUint64(at + 8);
    const { count: countBits, block: blockBits, fileBlock: fileBlockBits } = extentBits;
    const length = Number(BigInt.asUintN(Number(countBits), record));
    const named = BigInt.asUintN(Number(blockBits), record >> countBits);
    const fileBlock = toNumber(BigInt.asUintN(Number(fileBlockBits), record >> (countBits + blockBits)), {
      ...place,
      field: 'br_startoff',
    });
    if (length === 0) throw DiskError.corrupt({ ...place, field: 'br_blockcount', actual: 0, expected: 'at least 1' });
    const block = volume.blockAt(named, length, { ...place, field: 'br_startblock' });
    const unwritten = record >> 127n === 1n;
    yield { role: 'content', fileBlock, block, count: length, unwritten };
  }
}

/** The blocks of a tree of extents: like those of a group, they name their neighbours. */
class ExtentTree {
  readonly #siblings = new Siblings();

  constructor(
    private readonly volume: XfsVolume,
    private readonly inode: Inode,
    private readonly options: RequestOptions,
  ) {}

  async *from({ bytes }: Fork): AsyncGenerator<BlockRun, void, undefined> {
    const view = viewOf(bytes);
    const { bb_level: level, bb_numrecs: count } = treeRoot.at(view);
    const { place } = this.inode;
    const room = Math.floor((bytes.length - treeRoot.size) / (treeKeySize + treePointerSize));
    if (level === 0 || level >= largestTreeHeight) {
      const expected = `1 to ${largestTreeHeight - 1}`;
      throw DiskError.corrupt({ ...place, field: 'bb_level', actual: level, expected });
    }
    if (count === 0 || count > room) {
      throw DiskError.corrupt({ ...place, field: 'bb_numrecs', actual: count, expected: `1 to ${room}` });
    }
    yield* this.#children(view, treeRoot.size + room * treeKeySize, count, level, place);
    this.#siblings.end();
  }

  async *#children(
    view: DataView,
    pointers: number,
    count: number,
    level: number,
    place: Place,
  ): AsyncGenerator<BlockRun, void, undefined> {
    for (let i = 0; i < count; i++) {
      const named = view.getBigUint64(pointers + i * treePointerSize);
      yield* this.#below(this.volume.blockAt(named, 1, { ...place, field: 'bb_ptr' }), named, level - 1);
    }
  }

  async *#below(block: number, named: bigint, level: number): AsyncGenerator<BlockRun, void, undefined> {
    const { volume, inode } = this;
    const { version, blockSize } = volume.superblock;
    const offset = volume.offsetOf(block);
    const place = volume.place(`extent tree of inode ${inode.number}`, offset);
    const bytes = await volume.blocks(block, 1, place, this.options);
    const view = viewOf(bytes);
    const header = longHeader.at(view);
    const wrong = (field: string, actual: string | number | bigint, expected: string | number | bigint) =>
      DiskError.corrupt({ ...place, field, actual, expected });
    const magic = extentTreeMagics[version >= 5 ? 1 : 0];
    if (header.bb_magic !== magic) throw wrong('bb_magic', hex(header.bb_magic), hex(magic));
    if (version >= 5) {
      const { bb_uuid: uuid, bb_owner: owner, bb_blkno: blkno } = longHeaderV5.at(view);
      const own = { prefix: 'bb_', crc: longHeaderV5.fields.bb_crc.offset, uuid, owner, blkno };
      checkIdentity(volume, bytes, own, { owner: inode.number, offset }, place);
    }
    if (header.bb_level !== level) throw wrong('bb_level', header.bb_level, level);
    const start = version >= 5 ? longHeaderV5.size : longHeader.size;
    const room = Math.floor((blockSize - start) / extentRecordSize);
    const { bb_numrecs: count } = header;
    if (count === 0 || count > room) throw wrong('bb_numrecs', count, `1 to ${room}`);
    const sibling = (other: bigint) => (other === noLongBlock ? undefined : other);
    this.#siblings.visit(level, named, sibling(header.bb_leftsib), sibling(header.bb_rightsib), place);
    yield { role: 'map', fileBlock: 0, block, count: 1, unwritten: false };
    if (level === 0) yield* recordsIn(volume, view, start, count, place);
    else yield* this.#children(view, start + room * treeKeySize, count, level, place);
  }
}
