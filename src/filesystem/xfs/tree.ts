import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import type { Group, TreeRoot } from './group.js';
import { checkIdentity } from './identity.js';
import { noShortBlock, shortHeader, shortHeaderV5, treeMagics } from './on-disk.js';
import { Siblings } from './siblings.js';
import type { XfsVolume } from './volume.js';

/** The trees of a group, each with the bytes of its records and of its keys. */
export const groupTrees = {
  bno: { name: 'free space by block', record: 8, key: 8 },
  cnt: { name: 'free space by length', record: 8, key: 8 },
  ino: { name: 'inodes', record: 16, key: 4 },
  fino: { name: 'free inodes', record: 16, key: 4 },
  /** Of each child both the lowest key and the highest. */
  rmap: { name: 'reverse map', record: 24, key: 40 },
  refcount: { name: 'reference counts', record: 12, key: 4 },
} as const;
export type GroupTree = keyof typeof groupTrees;

/** Bytes of a pointer to a block of a group. */
const pointerSize = 4;

/** A block of a tree of a group. */
export interface TreeBlock {
  /** In the group. */
  readonly block: number;
  /** 0: a leaf. */
  readonly level: number;
  readonly view: DataView;
  /** Of records, or keys. */
  readonly count: number;
  /** Bytes from the start of `view` to the first of them. */
  readonly start: number;
  readonly place: Place;
}

/**
 * The blocks of a tree of a group, each before what is below it, in the order of its keys.
 *
 * It ends, whatever the disk says: on each level a block names the one before it, so that none comes twice.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function* treeBlocks(
  volume: XfsVolume,
  group: Group,
  tree: GroupTree,
  { block, levels }: TreeRoot,
  options: RequestOptions,
): AsyncGenerator<TreeBlock, void, undefined> {
  const walk = new Walk(volume, group, tree, options);
  yield* walk.from(block, levels - 1);
  walk.end();
}

class Walk {
  readonly #siblings = new Siblings();

  constructor(
    private readonly volume: XfsVolume,
    private readonly group: Group,
    private readonly tree: GroupTree,
    private readonly options: RequestOptions,
  ) {}

  async *from(block: number, level: number): AsyncGenerator<TreeBlock, void, undefined> {
    const node = await this.#read(block, level);
    yield node;
    if (level === 0) return;
    const { view, start, count, place } = node;
    const room = this.#room(level);
    for (let i = 0; i < count; i++) {
      const child = view.getUint32(start + room * groupTrees[this.tree].key + i * pointerSize);
      const { length } = this.group;
      const { headerLength } = this.volume;
      if (child < headerLength || child >= length) {
        const expected = `${headerLength} to ${length - 1}`;
        throw DiskError.corrupt({ ...place, field: 'bb_ptr', actual: child, expected });
      }
      yield* this.from(child, level - 1);
    }
  }

  end(): void {
    this.#siblings.end();
  }

  /** Records, or keys, that a block has room for. */
  #room(level: number): number {
    const { record, key } = groupTrees[this.tree];
    const room = this.volume.superblock.blockSize - this.#headerSize;
    return Math.floor(level === 0 ? room / record : room / (key + pointerSize));
  }

  get #headerSize(): number {
    return this.volume.superblock.version >= 5 ? shortHeaderV5.size : shortHeader.size;
  }

  async #read(block: number, level: number): Promise<TreeBlock> {
    const { volume, group, tree } = this;
    const whole = volume.blockOf(group.number, block);
    const offset = volume.offsetOf(whole);
    const place = volume.place(`tree of ${groupTrees[tree].name} of group ${group.number}`, offset);
    const bytes = await volume.blocks(whole, 1, place, this.options);
    const view = viewOf(bytes);
    const header = shortHeader.at(view);
    const equal = (
      field: string,
      actual: number | bigint,
      expected: number | bigint,
      write: (value: number | bigint) => string = String,
    ) => {
      if (actual === expected) return;
      throw DiskError.corrupt({ ...place, field, actual: write(actual), expected: write(expected) });
    };
    const checked = volume.superblock.version >= 5;
    equal('bb_magic', header.bb_magic, treeMagics[tree][checked ? 1 : 0], hex);
    if (checked) {
      const { bb_uuid: uuid, bb_owner: owner, bb_blkno: blkno } = shortHeaderV5.at(view);
      const own = { prefix: 'bb_', crc: shortHeaderV5.fields.bb_crc.offset, uuid, owner, blkno };
      checkIdentity(volume, bytes, own, { owner: group.number, offset }, place);
    }
    equal('bb_level', header.bb_level, level);
    const sibling = (other: number) => (other === noShortBlock ? undefined : BigInt(other));
    this.#siblings.visit(level, BigInt(block), sibling(header.bb_leftsib), sibling(header.bb_rightsib), place);
    const count = header.bb_numrecs;
    const least = level === 0 ? 0 : 1;
    if (count < least || count > this.#room(level)) {
      const expected = `${least} to ${this.#room(level)}`;
      throw DiskError.corrupt({ ...place, field: 'bb_numrecs', actual: count, expected });
    }
    return { block, level, view, count, start: this.#headerSize, place };
  }
}
