import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import { DeviceReader } from '../device-reader.js';
import { type Group, readGroups } from './group.js';
import type { Superblock } from './superblock.js';

/** 16 MiB: inodes and directories that are used together lie close to each other. */
const cacheSize = { chunkSize: 256n * 1024n, chunks: 64 };

/** What is needed to find anything in an ext filesystem: its superblock, its groups, and blocks by their number. */
export class ExtVolume {
  readonly #reader: DeviceReader;

  constructor(
    readonly device: BlockDevice,
    readonly superblock: Superblock,
    readonly groups: readonly Group[],
  ) {
    this.#reader = new DeviceReader(device, undefined, cacheSize);
  }

  /**
   * @param device may be a layer over the filesystem's own, with its journal replayed
   * @throws {DiskError} CORRUPT; UNSUPPORTED when there are too many groups; IO, CANCELLED
   */
  static async open(device: BlockDevice, superblock: Superblock, options: RequestOptions = {}): Promise<ExtVolume> {
    return new ExtVolume(device, superblock, await readGroups(device, superblock, options));
  }

  /**
   * Whether blocks can hold what a file owns: they lie behind the superblock and before the end. Where the numbers come
   * from says `place`.
   *
   * @throws {DiskError} CORRUPT
   */
  checkBlocks(start: number, count: number, place: Place): void {
    const { firstDataBlock, blockCount } = this.superblock;
    if (start > firstDataBlock && start + count <= blockCount) return;
    const expected = `${firstDataBlock + 1} to ${blockCount - count}`;
    throw DiskError.corrupt({ device: this.device.name, ...place, actual: start, expected });
  }

  /**
   * A copy of a block.
   *
   * @param place where its number comes from
   * @throws {DiskError} CORRUPT when it can hold nothing of a file; IO, CANCELLED
   */
  async block(number: number, place: Place, options: RequestOptions): Promise<Uint8Array> {
    this.checkBlocks(number, 1, place);
    return await this.bytes(this.offsetOf(number), this.superblock.blockSize, place, options);
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

  /** Bytes from the start of the device. */
  offsetOf(block: number): bigint {
    return BigInt(block) * BigInt(this.superblock.blockSize);
  }

  /** Where something in a block is, for messages. */
  place(structure: string, block: number): Place {
    return { structure, device: this.device.name, offset: this.offsetOf(block) };
  }
}
