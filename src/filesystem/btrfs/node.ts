import { viewOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import { checkChecksum } from './checksum.js';
import { diskKey, leafItem, levels, nodeHeader, nodePointer } from './on-disk.js';
import type { Superblock } from './superblock.js';

/** Of an item: ordered by each in turn. */
export interface Key {
  readonly objectid: bigint;
  readonly type: number;
  readonly offset: bigint;
}

export const lowestKey: Key = { objectid: 0n, type: 0, offset: 0n };

/** Below 0 when `a` comes first, above 0 when `b` does. */
export function compareKeys(a: Key, b: Key): number {
  if (a.objectid !== b.objectid) return a.objectid < b.objectid ? -1 : 1;
  if (a.type !== b.type) return a.type - b.type;
  return a.offset === b.offset ? 0 : a.offset < b.offset ? -1 : 1;
}

export function nameOfKey({ objectid, type, offset }: Key): string {
  return `(${BigInt.asIntN(64, objectid)} ${type} ${offset})`;
}

/** A block of a tree, checked: its keys ascend, and its items lie within it. */
export class TreeNode {
  readonly view: DataView;
  /** 0: a leaf, of items; else of pointers to nodes one level lower. */
  readonly level: number;
  readonly count: number;
  readonly generation: bigint;
  readonly owner: bigint;
  readonly #step: number;

  /** @throws {DiskError} CORRUPT */
  constructor(
    superblock: Superblock,
    /** Logical address. */
    readonly block: bigint,
    readonly bytes: Uint8Array,
    readonly place: Place & { readonly offset: bigint },
  ) {
    this.view = viewOf(bytes);
    const header = nodeHeader.at(this.view);
    const wrong = (field: string, actual: string | number | bigint, expected: string) =>
      DiskError.corrupt({ ...place, field, actual, expected });
    checkChecksum(superblock.checksum, bytes, place);
    if (header.bytenr !== block) throw wrong('bytenr', header.bytenr, `${block}`);
    if (Buffer.compare(header.fsid, superblock.metaUuid) !== 0) throw wrong('fsid', 'another', "the filesystem's");
    this.level = header.level;
    this.count = header.nritems;
    this.generation = header.generation;
    this.owner = header.owner;
    if (this.level >= levels) throw wrong('level', this.level, `below ${levels}`);
    this.#step = this.level === 0 ? leafItem.size : nodePointer.size;
    const room = Math.floor((bytes.length - nodeHeader.size) / this.#step);
    const least = this.level === 0 ? 0 : 1;
    if (this.count < least || this.count > room) throw wrong('nritems', this.count, `${least} to ${room}`);
    for (let i = 1; i < this.count; i++) {
      if (compareKeys(this.key(i - 1), this.key(i)) >= 0) {
        throw wrong(`key ${i}`, nameOfKey(this.key(i)), `one behind ${nameOfKey(this.key(i - 1))}`);
      }
    }
    if (this.level === 0) this.#checkItems(wrong);
  }

  key(i: number): Key {
    const at = nodeHeader.size + i * this.#step;
    const { objectid, type, offset } = diskKey.fields;
    return {
      objectid: this.view.getBigUint64(at + objectid.offset, true),
      type: this.view.getUint8(at + type.offset),
      offset: this.view.getBigUint64(at + offset.offset, true),
    };
  }

  /** Of a node above the leaves: where the block is that begins with a key, and who wrote it. */
  pointer(i: number): { readonly block: bigint; readonly generation: bigint } {
    const { blockptr, generation } = nodePointer.at(this.view, nodeHeader.size + i * this.#step);
    return { block: blockptr, generation };
  }

  /** Of a leaf: the data of an item, a part of the leaf's memory. */
  data(i: number): Uint8Array {
    const start = this.dataStart(i);
    const { size } = leafItem.at(this.view, nodeHeader.size + i * this.#step);
    return this.bytes.subarray(start, start + size);
  }

  /** Bytes from the start of the leaf to the data of an item. */
  dataStart(i: number): number {
    return nodeHeader.size + leafItem.at(this.view, nodeHeader.size + i * this.#step).offset;
  }

  /** The last whose key is at or before one; 0 when all are behind it. */
  indexOf(key: Key): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.key(middle), key) <= 0) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** The data of items lie at the end of a leaf in reverse, without gaps, behind the items. */
  #checkItems(wrong: (field: string, actual: number, expected: string) => DiskError): void {
    let end = this.bytes.length - nodeHeader.size;
    const least = this.count * leafItem.size;
    for (let i = 0; i < this.count; i++) {
      const { offset, size } = leafItem.at(this.view, nodeHeader.size + i * leafItem.size);
      if (offset < least || offset + size !== end) throw wrong(`offset of item ${i}`, offset, `${end} less its size`);
      end = offset;
    }
  }
}
