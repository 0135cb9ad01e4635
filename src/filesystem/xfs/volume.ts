import { toNumber } from '../../binary/convert.js';
import type { Range } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import { DeviceReader } from '../device-reader.js';
import { headerSectors } from './on-disk.js';
import type { Superblock } from './superblock.js';

/** 16 MiB: what is used together lies close to each other. */
const cacheSize = { chunkSize: 256n * 1024n, chunks: 64 };

/**
 * What is needed to find anything in an XFS filesystem: its superblock, and blocks by their number.
 *
 * Blocks are numbered here through the whole filesystem, without the gaps that the numbers on the disk have where a group
 * is no power of two; within a group, from its start.
 */
export class XfsVolume {
  readonly #reader: DeviceReader;

  constructor(
    readonly device: BlockDevice,
    readonly superblock: Superblock,
  ) {
    this.#reader = new DeviceReader(device, undefined, cacheSize);
  }

  /** Blocks at the start of each group that its headers take. */
  get headerLength(): number {
    const { sectorSize, blockSize } = this.superblock;
    return Math.ceil((headerSectors * sectorSize) / blockSize);
  }

  /** Blocks. */
  groupLength(group: number): number {
    const { groupSize, groupCount, blockCount } = this.superblock;
    return group === groupCount - 1 ? blockCount - group * groupSize : groupSize;
  }

  /** The number of a block of a group. */
  blockOf(group: number, inGroup: number): number {
    return group * this.superblock.groupSize + inGroup;
  }

  /**
   * The number of a block that the disk names (xfs_fsblock_t), of which `count` in a row are meant.
   *
   * @param place where the number comes from
   * @throws {DiskError} CORRUPT when they do not lie in one group, behind its headers
   */
  blockAt(named: bigint, count: number, place: Place): number {
    const { groupBits, groupCount } = this.superblock;
    const group = named >> BigInt(groupBits);
    const inGroup = Number(named & ((1n << BigInt(groupBits)) - 1n));
    const within = group < BigInt(groupCount) && inGroup + count <= this.groupLength(Number(group));
    if (within && inGroup >= this.headerLength) {
      return this.blockOf(Number(group), inGroup);
    }
    const expected = `${count} in one of ${groupCount} groups, behind its headers`;
    throw DiskError.corrupt({ device: this.device.name, ...place, actual: named, expected });
  }

  /** Bytes from the start of the device. */
  offsetOf(block: number): bigint {
    return BigInt(block) * BigInt(this.superblock.blockSize);
  }

  /** Bytes of the device. */
  rangeOf(block: number, count: number): Range {
    return { offset: this.offsetOf(block), length: this.offsetOf(count) };
  }

  /**
   * A copy of some blocks.
   *
   * @throws {DiskError} as {@link bytes}
   */
  async blocks(block: number, count: number, place: Place, options: RequestOptions): Promise<Uint8Array> {
    return await this.bytes(this.offsetOf(block), count * this.superblock.blockSize, place, options);
  }

  /**
   * A copy of some bytes of the device.
   *
   * @throws {DiskError} CORRUPT when the device ends before them; IO, CANCELLED
   */
  async bytes(offset: bigint, length: number, place: Place, { signal }: RequestOptions): Promise<Uint8Array> {
    const found = await this.#reader.bytes(offset, length, signal);
    if (found !== undefined) return found;
    throw DiskError.corrupt({
      device: this.device.name,
      ...place,
      field: 'its last byte',
      actual: offset + BigInt(length) - 1n,
      expected: `below ${this.device.facts.size}, where the device ends`,
    });
  }

  /** Where a structure is, for messages. */
  place(structure: string, offset: bigint): Place {
    return { structure: `XFS ${structure}`, device: this.device.name, offset };
  }

  /** The part of the log: it lies in one group. @throws {DiskError} CORRUPT */
  get log(): Range {
    const { start, length } = this.superblock.log;
    const place = { ...this.place('superblock', 0n), field: 'sb_logstart' };
    const { offset, length: bytes } = this.rangeOf(this.blockAt(start, length, place), length);
    return { offset, length: BigInt(toNumber(bytes)) };
  }
}
