import { isPowerOfTwo } from '../../binary/bits.js';
import { bytesOf, type ViewOf, viewOf } from '../../binary/layout.js';
import { formatUuid } from '../../binary/uuid.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import { decodeText } from '../text.js';
import { type Checksum, checkChecksum, checksums } from './checksum.js';
import {
  btrfsSuperblock,
  deviceItem,
  incompat,
  levels,
  superblockOffsets,
  superblockSize,
  superMagic,
  treeIds,
} from './on-disk.js';

/** Where a tree begins. */
export interface TreeRoot {
  /** Its objectid, where all its blocks are its own; undefined where some may be those of a snapshot. */
  readonly owner: bigint | undefined;
  /** Logical address. */
  readonly block: bigint;
  /** 0: the root is a leaf. */
  readonly level: number;
  readonly generation: bigint;
}

/** The checked facts of a btrfs filesystem. Addresses and sizes are in bytes. */
export interface Superblock {
  /** Bytes from the start of the device to the copy that this is. */
  readonly offset: bigint;
  readonly label: string;
  readonly uuid: string;
  /** What every structure names. */
  readonly metaUuid: Uint8Array;
  readonly generation: bigint;
  readonly checksum: Checksum;
  readonly sectorSize: number;
  readonly nodeSize: number;
  readonly usedBytes: bigint;
  /** Of all devices. */
  readonly totalBytes: bigint;
  readonly deviceCount: bigint;
  readonly device: DeviceFacts;
  readonly rootTree: TreeRoot;
  readonly chunkTree: TreeRoot;
  readonly hasLog: boolean;
  /** The chunks that hold the chunk tree, each behind its key. */
  readonly systemChunks: Uint8Array;
  readonly flags: number;
  readonly flagsHigh: number;
  readonly compatRo: number;
  readonly incompat: number;
  /** Whether a flag is set that is past bit 31. */
  readonly highFeatures: boolean;
}

/** What a filesystem knows of one of its devices. */
export interface DeviceFacts {
  readonly id: bigint;
  readonly uuid: Uint8Array;
  readonly totalBytes: bigint;
  /** That chunks have of it. */
  readonly usedBytes: bigint;
}

type Raw = ViewOf<typeof btrfsSuperblock>;

const smallestBlock = 4096;
const largestBlock = 65_536;
const largestSize = 2n ** 63n;
const noUuid = Buffer.alloc(16);

/**
 * Reads the superblock and its mirrors, as far as the device reaches, and takes the newest that is valid: of the same
 * filesystem and device as the first, where that is valid.
 *
 * @throws {DiskError} CORRUPT with the field that is wrong in the first when none is valid; UNSUPPORTED for a checksum
 * that nobody knows; IO, CANCELLED
 */
export async function readSuperblock(device: BlockDevice, options: RequestOptions = {}): Promise<Superblock> {
  const found: Superblock[] = [];
  let reason: unknown;
  for (const offset of superblockOffsets) {
    try {
      found.push(await readCopy(device, offset, options));
    } catch (error) {
      if (!hasCode(error, 'CORRUPT', 'UNSUPPORTED')) throw error;
      reason ??= error;
    }
  }
  const [first] = found;
  if (first === undefined) throw reason;
  return found.reduce((best, copy) => (isSame(first, copy) && copy.generation > best.generation ? copy : best), first);
}

function isSame(one: Superblock, other: Superblock): boolean {
  return Buffer.compare(one.metaUuid, other.metaUuid) === 0 && Buffer.compare(one.device.uuid, other.device.uuid) === 0;
}

async function readCopy(device: BlockDevice, offset: bigint, options: RequestOptions): Promise<Superblock> {
  const place: Place = { structure: 'btrfs superblock', device: device.name, offset };
  const { size } = device.facts;
  if (offset + BigInt(superblockSize) > size) {
    const expected = `at least ${offset + BigInt(superblockSize)}`;
    throw DiskError.corrupt({ ...place, field: 'device size', actual: size, expected });
  }
  return check(await readView(device, offset, superblockSize, options), offset, place);
}

function check(view: DataView, offset: bigint, place: Place): Superblock {
  const raw = btrfsSuperblock.at(view);
  const wrong = (field: keyof Raw | `dev_item.${string}`, actual: string | number | bigint, expected: string) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  if (raw.magic !== superMagic) throw wrong('magic', hex(raw.magic), hex(superMagic));
  const checksum = checksums[raw.csum_type];
  if (checksum === undefined) {
    const expected = `below ${checksums.length}`;
    throw DiskError.unsupported({ ...place, field: 'csum_type', actual: raw.csum_type, expected });
  }
  checkChecksum(checksum, bytesOf(view), place);
  if (raw.bytenr !== offset) throw wrong('bytenr', raw.bytenr, `${offset}`);
  const size = (field: keyof Raw, value: number, smallest: number): number => {
    if (isPowerOfTwo(value) && value >= smallest && value <= largestBlock) return value;
    throw wrong(field, value, `a power of two, ${smallest} to ${largestBlock}`);
  };
  const sectorSize = size('sectorsize', raw.sectorsize, smallestBlock);
  const nodeSize = size('nodesize', raw.nodesize, sectorSize);
  if (raw.leafsize !== nodeSize) throw wrong('leafsize', raw.leafsize, `${nodeSize}, as nodesize`);
  const level = (field: keyof Raw, value: number): number => {
    if (value < levels) return value;
    throw wrong(field, value, `below ${levels}`);
  };
  const { sys_chunk_array: chunks, sys_chunk_array_size: used } = raw;
  if (used === 0 || used > chunks.length) throw wrong('sys_chunk_array_size', used, `1 to ${chunks.length}`);
  const device = deviceItem.at(viewOf(raw.dev_item));
  if (device.total_bytes >= largestSize) throw wrong('dev_item.total_bytes', device.total_bytes, 'below 2^63');
  // BTRFS_MIN_DEVICE_SIZE is above this: whatever is smaller holds no superblock.
  if (device.total_bytes < offset + BigInt(superblockSize)) {
    throw wrong('dev_item.total_bytes', device.total_bytes, `at least ${offset + BigInt(superblockSize)}`);
  }
  const own = incompat.has(raw.incompat_flags, 'METADATA_UUID') ? raw.metadata_uuid : raw.fsid;
  if (Buffer.compare(own, noUuid) === 0) throw wrong('fsid', 'all zeros', 'a UUID');
  if (Buffer.compare(device.fsid, own) !== 0) {
    throw wrong('dev_item.fsid', formatUuid(device.fsid), `${formatUuid(own)}, as in the rest of it`);
  }
  return Object.freeze({
    offset,
    label: decodeText(raw.label),
    uuid: formatUuid(Uint8Array.from(raw.fsid)),
    metaUuid: Uint8Array.from(own),
    generation: raw.generation,
    checksum,
    sectorSize,
    nodeSize,
    usedBytes: raw.bytes_used,
    totalBytes: raw.total_bytes,
    deviceCount: raw.num_devices,
    device: deviceFacts(device),
    rootTree: {
      owner: treeIds.root,
      block: raw.root,
      level: level('root_level', raw.root_level),
      generation: raw.generation,
    },
    chunkTree: {
      owner: treeIds.chunk,
      block: raw.chunk_root,
      level: level('chunk_root_level', raw.chunk_root_level),
      generation: raw.chunk_root_generation,
    },
    hasLog: raw.log_root !== 0n,
    systemChunks: Uint8Array.from(chunks.subarray(0, used)),
    flags: raw.flags,
    flagsHigh: raw.flags_high,
    compatRo: raw.compat_ro_flags,
    incompat: raw.incompat_flags,
    highFeatures: raw.compat_ro_flags_high !== 0 || raw.incompat_flags_high !== 0,
  });
}

export function deviceFacts({ devid, uuid, total_bytes, bytes_used }: ViewOf<typeof deviceItem>): DeviceFacts {
  return { id: devid, uuid: Uint8Array.from(uuid), totalBytes: total_bytes, usedBytes: bytes_used };
}
