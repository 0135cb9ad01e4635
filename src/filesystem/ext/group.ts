import { toNumber } from '../../binary/convert.js';
import { crc16, rawCrc32c } from '../../binary/crc.js';
import { bytesOf, viewOf } from '../../binary/layout.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import {
  descriptorBlock,
  descriptorBlockCount,
  descriptorsPerBlock,
  groupLength,
  groupStart,
  inodeTableLength,
} from './geometry.js';
import { extGroup, extGroupHigh, groupFlags, incompat, roCompat, superblockOffset } from './on-disk.js';
import { littleEndian32, type Superblock } from './superblock.js';

/** The checked facts of one block group. */
export interface Group {
  readonly number: number;
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  /** The first block of the inode table. */
  readonly inodeTable: number;
  readonly freeClusterCount: number;
  /** The block bitmap was never written: what it would say follows from where the metadata lies. */
  readonly bitmapUninitialised: boolean;
  readonly bitmapChecksum: number;
  /** Of `bitmapChecksum`: 0xffff when only its low half is kept. */
  readonly bitmapChecksumMask: number;
}

/** What is kept of all groups is in memory: 256 TiB of groups of the usual size. */
const largestGroupCount = 2 ** 21;
/** Blocks of descriptors that are read in one request. */
const blocksARead = 64;

/**
 * Reads the descriptors of all groups, checksums verified.
 *
 * @throws {DiskError} CORRUPT; UNSUPPORTED when there are too many
 */
export async function readGroups(
  device: BlockDevice,
  superblock: Superblock,
  options: RequestOptions,
): Promise<Group[]> {
  const { blockSize, groupCount, descriptorSize } = superblock;
  const perBlock = descriptorsPerBlock(superblock);
  const blocks = descriptorBlockCount(superblock);
  if (groupCount > largestGroupCount) {
    const place = { structure: 'ext4 superblock', device: device.name, offset: superblockOffset };
    throw DiskError.unsupported({
      ...place,
      field: 's_blocks_count',
      actual: `that of ${groupCount} block groups`,
      expected: `at most ${largestGroupCount}`,
    });
  }
  const groups: Group[] = [];
  for (let index = 0; index < blocks; ) {
    const first = descriptorBlock(superblock, index);
    let count = 1;
    while (
      count < blocksARead &&
      index + count < blocks &&
      descriptorBlock(superblock, index + count) === first + count
    ) {
      count++;
    }
    if (first + count > superblock.blockCount) {
      throw DiskError.corrupt({
        structure: 'ext4 group descriptors',
        device: device.name,
        field: 'block',
        actual: first,
        expected: `below ${superblock.blockCount}`,
      });
    }
    const memory = bytesOf(await readView(device, BigInt(first) * BigInt(blockSize), count * blockSize, options));
    const last = Math.min(groupCount, (index + count) * perBlock);
    for (let number = index * perBlock; number < last; number++) {
      const start = (number - index * perBlock) * descriptorSize;
      const place: Place = {
        structure: `ext4 group descriptor ${number}`,
        device: device.name,
        offset: BigInt(first) * BigInt(blockSize) + BigInt(start),
      };
      groups.push(check(memory.subarray(start, start + descriptorSize), number, superblock, place));
    }
    index += count;
  }
  return groups;
}

function check(descriptor: Uint8Array, number: number, superblock: Superblock, place: Place): Group {
  const view = viewOf(descriptor);
  const low = extGroup.at(view);
  const high = descriptor.length > extGroup.size ? extGroupHigh.at(view, extGroup.size) : undefined;
  const checksummed = checkChecksum(descriptor, low.bg_checksum, number, superblock, place);
  // Only flex_bg lets a group's metadata lie outside of it.
  const scattered = incompat.has(superblock.incompat, 'flex_bg');
  const first = scattered ? superblock.firstDataBlock + 1 : groupStart(superblock, number);
  const end = scattered ? superblock.blockCount : groupStart(superblock, number) + groupLength(superblock, number);
  const block = (field: string, highHalf: number | undefined, lowHalf: number, length: number): number => {
    const value = (BigInt(highHalf ?? 0) << 32n) | BigInt(lowHalf);
    const last = end - length;
    if (value < BigInt(first) || value > BigInt(last)) {
      throw DiskError.corrupt({
        ...place,
        field,
        actual: value,
        expected: `${first} to ${last}`,
      });
    }
    return toNumber(value);
  };
  // Without checksums the flag means nothing: it is the checksum that vouches for it.
  const bitmapUninitialised = checksummed && groupFlags.has(low.bg_flags, 'BLOCK_UNINIT');
  // Group 0 always holds something: the kernel refuses it too.
  if (bitmapUninitialised && number === 0) {
    throw DiskError.corrupt({ ...place, field: 'bg_flags', actual: 'BLOCK_UNINIT', expected: 'an initialised bitmap' });
  }
  return {
    number,
    blockBitmap: block('bg_block_bitmap', high?.bg_block_bitmap_hi, low.bg_block_bitmap_lo, 1),
    inodeBitmap: block('bg_inode_bitmap', high?.bg_inode_bitmap_hi, low.bg_inode_bitmap_lo, 1),
    inodeTable: block('bg_inode_table', high?.bg_inode_table_hi, low.bg_inode_table_lo, inodeTableLength(superblock)),
    freeClusterCount: (high?.bg_free_blocks_count_hi ?? 0) * 0x1_0000 + low.bg_free_blocks_count_lo,
    bitmapUninitialised,
    bitmapChecksum: (high?.bg_block_bitmap_csum_hi ?? 0) * 0x1_0000 + low.bg_block_bitmap_csum_lo,
    bitmapChecksumMask: high === undefined ? 0xffff : 0xffff_ffff,
  };
}

/** @returns whether the filesystem has checksums of its descriptors */
function checkChecksum(
  descriptor: Uint8Array,
  actual: number,
  number: number,
  superblock: Superblock,
  place: Place,
): boolean {
  const crc32 = roCompat.has(superblock.roCompat, 'metadata_csum');
  if (!crc32 && !roCompat.has(superblock.roCompat, 'uninit_bg')) return false;
  const { offset, size } = extGroup.fields.bg_checksum;
  const before = descriptor.subarray(0, offset);
  const after = descriptor.subarray(offset + size);
  const label = littleEndian32(number);
  // metadata_csum counts the field itself as zeros, uninit_bg leaves it out.
  const expected = crc32
    ? [label, before, new Uint8Array(size), after].reduce(rawCrc32c, superblock.checksumSeed) & 0xffff
    : [superblock.uuidBytes, label, before, after].reduce(crc16, 0xffff);
  if (actual !== expected) {
    throw DiskError.corrupt({ ...place, field: 'bg_checksum', actual: hex(actual), expected: hex(expected) });
  }
  return true;
}
