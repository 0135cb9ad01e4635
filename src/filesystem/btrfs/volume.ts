import { viewOf } from '../../binary/layout.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import { DeviceReader } from '../device-reader.js';
import { type Chunk, ChunkMap, isSameChunk, readChunk, systemChunks } from './chunk-map.js';
import { TreeNode } from './node.js';
import { chunkObjectid, deviceItem, devicesObjectid, groupTypes, keyTypes } from './on-disk.js';
import { deviceFacts, type Superblock } from './superblock.js';
import { treeNodes } from './tree.js';

/** 16 MiB: what is used together lies close to each other. */
const cacheSize = { chunkSize: 256n * 1024n, chunks: 64 };
/** Bytes of checked nodes that are kept. */
const nodeCache = 8 << 20;

/** A block of a tree, as whoever points to it says that it is. */
export interface NodePointer {
  /** Logical address. */
  readonly block: bigint;
  readonly level: number;
  readonly generation: bigint;
}

/** What is needed to find anything in a btrfs filesystem: its superblock, its chunks, and blocks of trees. */
export class BtrfsVolume {
  readonly #reader: DeviceReader;
  readonly #nodes = new Map<bigint, TreeNode>();
  #chunks: ChunkMap | undefined;

  constructor(
    readonly device: BlockDevice,
    readonly superblock: Superblock,
  ) {
    this.#reader = new DeviceReader(device, undefined, cacheSize);
  }

  /**
   * Every chunk.
   *
   * @throws {DiskError} CORRUPT; UNSUPPORTED, with the profile as its reason, for chunks on several devices; IO, CANCELLED
   */
  async chunks(options: RequestOptions): Promise<ChunkMap> {
    this.#chunks ??= await this.#readChunks(options);
    return this.#chunks;
  }

  async #readChunks(options: RequestOptions): Promise<ChunkMap> {
    const { superblock } = this;
    const place = this.place('superblock', superblock.offset);
    // The chunk tree lies in chunks that the superblock tells of itself.
    const known = systemChunks(superblock, place);
    const found: Chunk[] = [];
    let devices = 0;
    for await (const node of treeNodes(this, superblock.chunkTree, options, { chunks: known })) {
      for (let i = 0; node.level === 0 && i < node.count; i++) {
        const { objectid, type, offset } = node.key(i);
        const data = node.data(i);
        if (type === keyTypes.DEV_ITEM && objectid === devicesObjectid) {
          this.#checkDevice(data, node.place);
          devices++;
        } else if (type === keyTypes.CHUNK_ITEM && objectid === chunkObjectid) {
          found.push(readChunk(superblock, offset, viewOf(data), node.place));
        }
      }
    }
    if (devices !== 1) throw DiskError.corrupt({ ...place, field: 'devices', actual: devices, expected: 1 });
    const chunks = new ChunkMap(found, place);
    const system = found.filter(({ type }) => groupTypes.has(type, 'SYSTEM'));
    for (const chunk of known) {
      if (system.some((other) => isSameChunk(chunk, other))) continue;
      const actual = `a chunk at ${chunk.logical} that is not in the chunk tree`;
      throw DiskError.corrupt({ ...place, field: 'sys_chunk_array', actual });
    }
    return chunks;
  }

  #checkDevice(data: Uint8Array, place: Place): void {
    const { device } = this.superblock;
    if (data.length !== deviceItem.size) {
      throw DiskError.corrupt({ ...place, field: 'size of a device', actual: data.length, expected: deviceItem.size });
    }
    const found = deviceFacts(deviceItem.at(viewOf(data)));
    for (const field of ['id', 'totalBytes', 'usedBytes'] as const) {
      if (found[field] === device[field]) continue;
      const expected = `${device[field]}, as in the superblock`;
      throw DiskError.corrupt({ ...place, field: `device: ${field}`, actual: found[field], expected });
    }
    if (Buffer.compare(found.uuid, device.uuid) !== 0) {
      throw DiskError.corrupt({ ...place, field: 'device: uuid', actual: 'another', expected: 'as in the superblock' });
    }
  }

  /**
   * Reads a block of a tree: of two copies the second where the first is damaged or old.
   *
   * @param from where the pointer is, for messages
   * @param chunks those that are known, while the others are not
   * @throws {DiskError} CORRUPT; IO, CANCELLED
   */
  async node(pointer: NodePointer, from: Place, options: RequestOptions, chunks?: ChunkMap): Promise<TreeNode> {
    const { block, level, generation } = pointer;
    const known = this.#nodes.get(block);
    if (known !== undefined && known.generation === generation && known.level === level) {
      this.#nodes.delete(block);
      this.#nodes.set(block, known);
      return known;
    }
    const { nodeSize, sectorSize } = this.superblock;
    const wrong = { ...from, field: from.field ?? 'blockptr' };
    if (block % BigInt(sectorSize) !== 0n) {
      throw DiskError.corrupt({ ...wrong, actual: block, expected: `a multiple of ${sectorSize}` });
    }
    const map = chunks ?? (await this.chunks(options));
    let first: unknown;
    for (const offset of map.places(block, BigInt(nodeSize), wrong)) {
      try {
        const node = await this.#readNode(offset, pointer, options);
        this.#keep(node);
        return node;
      } catch (error) {
        if (!hasCode(error, 'CORRUPT')) throw error;
        first ??= error;
      }
    }
    throw first;
  }

  async #readNode(offset: bigint, pointer: NodePointer, options: RequestOptions): Promise<TreeNode> {
    const { block, level, generation } = pointer;
    const place = { ...this.place('tree block', offset), offset };
    const bytes = await this.bytes(offset, this.superblock.nodeSize, place, options);
    const node = new TreeNode(this.superblock, block, bytes, place);
    if (node.level !== level) {
      throw DiskError.corrupt({ ...place, field: 'level', actual: node.level, expected: level });
    }
    if (node.generation !== generation) {
      throw DiskError.corrupt({ ...place, field: 'generation', actual: node.generation, expected: generation });
    }
    return node;
  }

  #keep(node: TreeNode): void {
    const [oldest] = this.#nodes.keys();
    const most = nodeCache / this.superblock.nodeSize;
    if (this.#nodes.size >= most && oldest !== undefined) this.#nodes.delete(oldest);
    this.#nodes.set(node.block, node);
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
    return { structure: `btrfs ${structure}`, device: this.device.name, offset };
  }
}
