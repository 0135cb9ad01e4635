import { viewOf } from '../../binary/layout.js';
import type { Range } from '../../binary/range-set.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import { chunkItem, chunkObjectid, chunkStripe, diskKey, groupTypes, keyTypes, superblockRoom } from './on-disk.js';
import type { Superblock } from './superblock.js';

/** A run of logical addresses, and where on the device it lies. All in bytes. */
export interface Chunk {
  /** Logical address. */
  readonly logical: bigint;
  readonly length: bigint;
  /** See {@link groupTypes}. */
  readonly type: number;
  /** From the start of the device to each copy: one, or two of the same. */
  readonly copies: readonly bigint[];
}

/** BTRFS_STRIPE_LEN. */
const stripeLength = superblockRoom;
const kinds = groupTypes.mask.DATA | groupTypes.mask.SYSTEM | groupTypes.mask.METADATA;

/** What logical addresses mean: chunks that overlap neither there nor on the device. */
export class ChunkMap implements Iterable<Chunk> {
  /** By logical address. */
  readonly #chunks: readonly Chunk[];

  /** @throws {DiskError} CORRUPT when two overlap */
  constructor(chunks: readonly Chunk[], place: Place) {
    this.#chunks = chunks.toSorted((a, b) => compare(a.logical, b.logical));
    checkApart(
      this.#chunks.map(({ logical, length }) => ({ offset: logical, length })),
      { ...place, field: 'logical addresses of chunks' },
    );
    checkApart(
      this.onDevice().map(({ offset, chunk }) => ({ offset, length: chunk.length })),
      { ...place, field: 'places of chunks' },
    );
  }

  [Symbol.iterator](): Iterator<Chunk> {
    return this.#chunks[Symbol.iterator]();
  }

  /** Every copy of every chunk, by its place on the device. */
  onDevice(): readonly { readonly offset: bigint; readonly chunk: Chunk }[] {
    return this.#chunks
      .flatMap((chunk) => chunk.copies.map((offset) => ({ offset, chunk })))
      .sort((a, b) => compare(a.offset, b.offset));
  }

  /** The chunk that holds all of a run of logical addresses. */
  find(logical: bigint, length: bigint): Chunk | undefined {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const chunk = this.#chunks[middle];
      if (chunk !== undefined && chunk.logical + chunk.length <= logical) low = middle + 1;
      else high = middle;
    }
    const chunk = this.#chunks[low];
    const inside = chunk !== undefined && chunk.logical <= logical && logical + length <= chunk.logical + chunk.length;
    return inside ? chunk : undefined;
  }

  /**
   * Where on the device each copy of a run of logical addresses begins.
   *
   * @param place where the address comes from
   * @throws {DiskError} CORRUPT when no chunk holds all of it
   */
  places(logical: bigint, length: bigint, place: Place): readonly [bigint, ...bigint[]] {
    const chunk = this.find(logical, length);
    const [first, ...others] = (chunk?.copies ?? []).map((copy) => copy + logical - (chunk?.logical ?? 0n));
    if (first !== undefined) return [first, ...others];
    throw DiskError.corrupt({ ...place, actual: `${length} bytes from ${logical}`, expected: 'what a chunk holds' });
  }
}

/**
 * Reads a chunk.
 *
 * @param item from its first byte to its last
 * @throws {DiskError} CORRUPT; UNSUPPORTED, with the profile as its reason, for one that lies on several devices
 */
export function readChunk(superblock: Superblock, logical: bigint, item: DataView, place: Place): Chunk {
  const { device, sectorSize } = superblock;
  const wrong = (field: string, actual: string | number | bigint, expected: string) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  if (item.byteLength < chunkItem.size) throw wrong('size of a chunk', item.byteLength, `at least ${chunkItem.size}`);
  const { length, stripe_len, type: allFlags, num_stripes: count } = chunkItem.at(item);
  const type = Number(BigInt.asUintN(32, allFlags));
  const known = groupTypes.beyond(type, ['DATA', 'SYSTEM', 'METADATA', 'DUP']);
  if (known.length > 0 || BigInt(type) !== allFlags) {
    const name = known.join(', ') || hex(allFlags);
    const message = `chunk ${logical} of ${place.device} is of the profile ${name}, which disktool does not read`;
    throw new DiskError('UNSUPPORTED', message, { device: place.device, reason: name });
  }
  if ((type & kinds) === 0) throw wrong('type', hex(type), 'one that holds something');
  const aligned = (value: bigint) => value % BigInt(sectorSize) === 0n;
  if (!aligned(logical)) throw wrong('logical address', logical, `a multiple of ${sectorSize}`);
  if (length === 0n || !aligned(length) || logical + length >= 2n ** 63n) {
    throw wrong('length', length, `a multiple of ${sectorSize}`);
  }
  if (stripe_len !== stripeLength) throw wrong('stripe_len', stripe_len, `${stripeLength}`);
  const copyCount = groupTypes.has(type, 'DUP') ? 2 : 1;
  if (count !== copyCount) throw wrong('num_stripes', count, `${copyCount}`);
  const size = chunkItem.size + count * chunkStripe.size;
  if (item.byteLength !== size) throw wrong('size of a chunk', item.byteLength, `${size}`);
  const copies = Array.from({ length: count }, (_, i) => {
    const { devid, offset, dev_uuid } = chunkStripe.at(item, chunkItem.size + i * chunkStripe.size);
    if (devid !== device.id) throw wrong('devid', devid, `${device.id}, this device`);
    if (Buffer.compare(dev_uuid, device.uuid) !== 0) throw wrong('dev_uuid', 'another', "this device's");
    if (!aligned(offset)) throw wrong('offset', offset, `a multiple of ${sectorSize}`);
    if (offset + length > device.totalBytes) throw wrong('offset', offset, `at most ${device.totalBytes - length}`);
    return offset;
  });
  return { logical, length, type, copies };
}

/** The chunks that a superblock tells of, in which the tree of all chunks lies. @throws as {@link readChunk} */
export function systemChunks(superblock: Superblock, place: Place): ChunkMap {
  const { systemChunks: bytes } = superblock;
  const view = viewOf(bytes);
  const found: Chunk[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at + diskKey.size;
    const wrong = (field: string, actual: string | number | bigint, expected: string) =>
      DiskError.corrupt({ ...place, field: `${field} in sys_chunk_array`, actual, expected });
    if (start + chunkItem.size > bytes.length) throw wrong('key', bytes.length - at, 'a whole one');
    const key = diskKey.at(view, at);
    if (key.objectid !== chunkObjectid || key.type !== keyTypes.CHUNK_ITEM) throw wrong('key', key.type, 'a chunk');
    const { num_stripes: count } = chunkItem.at(view, start);
    const end = start + chunkItem.size + count * chunkStripe.size;
    if (end > bytes.length) throw wrong('num_stripes', count, 'what fits');
    const chunk = readChunk(superblock, key.offset, viewOf(bytes.subarray(start, end)), place);
    if (!groupTypes.has(chunk.type, 'SYSTEM')) throw wrong('type', hex(chunk.type), 'SYSTEM');
    found.push(chunk);
    at = end;
  }
  return new ChunkMap(found, place);
}

/** Whether two chunks are the same. */
export function isSameChunk(one: Chunk, other: Chunk): boolean {
  return (
    one.logical === other.logical &&
    one.length === other.length &&
    one.type === other.type &&
    one.copies.length === other.copies.length &&
    one.copies.every((copy, i) => copy === other.copies[i])
  );
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function checkApart(sorted: readonly Range[], place: Place): void {
  let end = 0n;
  for (const { offset, length } of sorted) {
    if (offset < end) throw DiskError.corrupt({ ...place, actual: `${offset}`, expected: `at least ${end}` });
    end = offset + length;
  }
}
