import { rawCrc32c } from '../../binary/crc.js';
import { bytesOf, type ViewOf, viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import type { FileType } from '../file.js';
import { modeTypeMask, modeTypes } from '../posix.js';
import { extInode, extInodeExtra, fileBlockLimit, inodeFlags } from './file-on-disk.js';
import { incompat, roCompat } from './on-disk.js';
import { littleEndian32 } from './superblock.js';
import type { ExtVolume } from './volume.js';

/** An inode in use, checked. */
export interface Inode {
  readonly number: number;
  readonly type: FileType;
  readonly mode: number;
  /** Names that lead to it. */
  readonly links: number;
  /** Bytes. */
  readonly size: number;
  /** Bytes of the device that it takes, by its own count. */
  readonly allocated: number;
  readonly flags: number;
  readonly generation: number;
  /** Of its extended attributes; 0 when there is none. */
  readonly xattrBlock: number;
  /** What checksums of its own metadata begin with. */
  readonly checksumSeed: number;
  readonly raw: ViewOf<typeof extInode>;
  /** The fields behind, as far as there are any: what lies past i_extra_isize reads as zero. */
  readonly extra: ViewOf<typeof extInodeExtra>;
  /** The whole of it; extended attributes begin at `xattrStart`. */
  readonly bytes: Uint8Array;
  /** Bytes from its start; undefined when it has no room for any. */
  readonly xattrStart: number | undefined;
  /** Where it lies. */
  readonly place: InodePlace;
}

type InodePlace = Place & { readonly offset: bigint };

const noExtra = extInodeExtra.at(viewOf(new Uint8Array(extInodeExtra.size)));
/** Bytes: the unit of i_blocks. */
const sectorSize = 512;

/**
 * Reads an inode that is in use, its checksum verified.
 *
 * @throws {DiskError} CORRUPT when there is none of that number, it is free, or its fields make no sense; IO, CANCELLED
 */
export async function readInode(volume: ExtVolume, number: number, options: RequestOptions = {}): Promise<Inode> {
  const { bytes, place } = await findInode(volume, number, options);
  const inode = check(volume, number, bytes, place);
  const { i_mode: mode } = inode.raw;
  if (!modeTypes.has(mode & modeTypeMask)) {
    throw DiskError.corrupt({ ...place, field: 'i_mode', actual: hex(mode), expected: 'the type of a file' });
  }
  if (inode.links === 0) {
    throw DiskError.corrupt({ ...place, field: 'i_links_count', actual: 0, expected: 'at least 1' });
  }
  return inode;
}

/**
 * Reads an inode that is the filesystem's own, which need be no file and have no name.
 *
 * @returns undefined when it takes no blocks
 * @throws {DiskError} as {@link readInode}
 */
export async function readOwnInode(
  volume: ExtVolume,
  number: number,
  options: RequestOptions = {},
): Promise<Inode | undefined> {
  const { bytes, place } = await findInode(volume, number, options);
  // What was never used has no checksum either.
  if (bytes.every((byte) => byte === 0)) return undefined;
  const inode = check(volume, number, bytes, place);
  return inode.allocated === 0 ? undefined : inode;
}

interface Found {
  readonly bytes: Uint8Array;
  readonly place: InodePlace;
}

async function findInode(volume: ExtVolume, number: number, options: RequestOptions): Promise<Found> {
  const { superblock, device } = volume;
  const { inodeSize, inodesPerGroup, inodeCount } = superblock;
  const group = volume.groups[Math.floor((number - 1) / inodesPerGroup)];
  if (number < 1 || number > inodeCount || group === undefined) {
    const place = { structure: 'ext4 inode', device: device.name, field: 'its number' };
    throw DiskError.corrupt({ ...place, actual: number, expected: `1 to ${inodeCount}` });
  }
  const offset = volume.offsetOf(group.inodeTable) + BigInt(((number - 1) % inodesPerGroup) * inodeSize);
  const place = { structure: `ext4 inode ${number}`, device: device.name, offset };
  return { bytes: await volume.bytes(offset, inodeSize, place, options), place };
}

function check(volume: ExtVolume, number: number, bytes: Uint8Array, place: InodePlace): Inode {
  const { superblock } = volume;
  const view = viewOf(bytes);
  const raw = extInode.at(view);
  const wrong = (field: string, actual: string | number, expected: string | number) =>
    DiskError.corrupt({ ...place, field, actual, expected });

  const extraSize = checkExtraSize(view, wrong);
  const seed = [littleEndian32(number), littleEndian32(raw.i_generation)].reduce(rawCrc32c, superblock.checksumSeed);
  const extra = extraOf(view, extraSize);
  if (roCompat.has(superblock.roCompat, 'metadata_csum')) checkChecksum(bytes, raw, extra, seed, wrong);

  const type = modeTypes.get(raw.i_mode & modeTypeMask) ?? 'file';
  // Only of files, and of directories with large_dir, has the size a high half; ext2 kept something else there.
  const wide = type === 'file' || incompat.has(superblock.incompat, 'large_dir');
  const size = (wide ? raw.i_size_high : 0) * 2 ** 32 + raw.i_size_lo;
  const largest = fileBlockLimit * superblock.blockSize;
  if (size > largest) throw wrong('i_size', size, `at most ${largest}`);

  const is64 = incompat.has(superblock.incompat, '64bit');
  const xattrBlock = (is64 ? raw.l_i_file_acl_high : 0) * 2 ** 32 + raw.i_file_acl_lo;
  const huge = roCompat.has(superblock.roCompat, 'huge_file');
  const unit = huge && inodeFlags.has(raw.i_flags, 'HUGE_FILE') ? superblock.blockSize : sectorSize;
  const allocated = ((huge ? raw.l_i_blocks_high : 0) * 2 ** 32 + raw.i_blocks_lo) * unit;
  const room = bytes.length - extInode.size;
  return {
    number,
    type,
    mode: raw.i_mode,
    links: raw.i_links_count,
    size,
    allocated,
    flags: raw.i_flags,
    generation: raw.i_generation,
    xattrBlock,
    checksumSeed: seed,
    raw,
    extra,
    bytes,
    xattrStart: room === 0 || extraSize === 0 ? undefined : extInode.size + extraSize,
    place,
  };
}

type Wrong = (field: string, actual: string | number, expected: string | number) => DiskError;

/** @returns bytes of the inode behind its first 128 that are fields; 0 when it has none */
function checkExtraSize(view: DataView, wrong: Wrong): number {
  const room = view.byteLength - extInode.size;
  if (room === 0) return 0;
  const size = view.getUint16(extInode.size, true);
  if (size > room || size % 4 !== 0) throw wrong('i_extra_isize', size, `a multiple of 4 up to ${room}`);
  return size;
}

/** A view in which fields that the inode does not have read as zero. */
function extraOf(view: DataView, extraSize: number): ViewOf<typeof extInodeExtra> {
  if (extraSize === 0) return noExtra;
  if (extraSize >= extInodeExtra.size) return extInodeExtra.at(view, extInode.size);
  const memory = new Uint8Array(extInodeExtra.size);
  memory.set(bytesOf(view).subarray(extInode.size, extInode.size + extraSize));
  return extInodeExtra.at(viewOf(memory));
}

function checkChecksum(bytes: Uint8Array, raw: Inode['raw'], extra: Inode['extra'], seed: number, wrong: Wrong): void {
  const { offset: low, size } = extInode.fields.l_i_checksum_lo;
  const { offset: high } = extInodeExtra.fields.i_checksum_hi;
  const wide = extra.i_extra_isize >= high + size;
  const covered = bytes.slice();
  covered.fill(0, low, low + size);
  if (wide) covered.fill(0, extInode.size + high, extInode.size + high + size);
  const expected = (rawCrc32c(seed, covered) & (wide ? 0xffff_ffff : 0xffff)) >>> 0;
  const actual = (wide ? extra.i_checksum_hi * 0x1_0000 : 0) + raw.l_i_checksum_lo;
  if (actual !== expected) throw wrong('i_checksum', hex(actual), hex(expected));
}
