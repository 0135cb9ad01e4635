import { toNumber } from '../../binary/convert.js';
import { type ViewOf, viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import type { FileType } from '../file.js';
import { modeTypeMask, modeTypes } from '../posix.js';
import { checkCrc } from './checksum.js';
import {
  type ForkFormat,
  forkFormats,
  inodeCore,
  inodeCoreV3,
  inodeFlags,
  inodeFlags2,
  inodeMagic,
} from './file-on-disk.js';
import { checkUuid } from './identity.js';
import type { XfsVolume } from './volume.js';

/** A fork of an inode: its data, or its attributes. */
export interface Fork {
  readonly format: ForkFormat;
  readonly extentCount: number;
  /** The part of the inode that is the fork's. */
  readonly bytes: Uint8Array;
  /** Bytes from the start of the inode to it. */
  readonly start: number;
}

/** An inode in use, checked. */
export interface Inode {
  readonly number: bigint;
  readonly type: FileType;
  readonly mode: number;
  /** Names that lead to it. */
  readonly links: number;
  /** Bytes. */
  readonly size: bigint;
  readonly blockCount: number;
  readonly bigtime: boolean;
  readonly data: Fork;
  readonly attributes: Fork | undefined;
  readonly raw: ViewOf<typeof inodeCore>;
  /** 0 before version 3. */
  readonly created: bigint | undefined;
  /** Where it lies, for messages. */
  readonly place: Place & { readonly offset: bigint };
}

/** XFS_MAXINUMBER: bits of the number of an inode. */
const largestInode = 2n ** 56n;

/**
 * Reads an inode that is in use, its checksum verified.
 *
 * @param place where its number comes from
 * @throws {DiskError} CORRUPT when there is none of that number, it is free, or its fields make no sense; IO, CANCELLED
 */
export async function readInode(
  volume: XfsVolume,
  number: bigint,
  place: Place,
  options: RequestOptions = {},
): Promise<Inode> {
  const { superblock } = volume;
  const { inodeBits, inodeSize, version } = superblock;
  const named = { ...place, field: place.field ?? 'inode' };
  if (number >= largestInode) throw DiskError.corrupt({ ...named, actual: number, expected: 'one that there can be' });
  const block = volume.blockAt(number >> BigInt(inodeBits), 1, named);
  const inBlock = Number(number & ((1n << BigInt(inodeBits)) - 1n));
  const offset = volume.offsetOf(block) + BigInt(inBlock * inodeSize);
  const own = { ...volume.place(`inode ${number}`, offset), offset };
  const bytes = await volume.bytes(offset, inodeSize, own, options);
  const view = viewOf(bytes);
  const raw = inodeCore.at(view);
  const wrong = (field: string, actual: string | number | bigint, expected: string | number) =>
    DiskError.corrupt({ ...own, field, actual, expected });
  if (raw.di_magic !== inodeMagic) throw wrong('di_magic', hex(raw.di_magic), hex(inodeMagic));
  const third = version >= 5 ? inodeCoreV3.at(view) : undefined;
  if (third !== undefined) {
    checkCrc(bytes, inodeCoreV3.fields.di_crc.offset, { ...own, field: 'di_crc' });
    checkUuid(volume, third.di_uuid, { ...own, field: 'di_uuid' });
    if (third.di_ino !== number) throw wrong('di_ino', third.di_ino, String(number));
  }
  const known = third === undefined ? [1, 2] : [3];
  if (!known.includes(raw.di_version)) throw wrong('di_version', raw.di_version, known.join(' or '));
  const type = modeTypes.get(raw.di_mode & modeTypeMask);
  if (type === undefined) throw wrong('di_mode', hex(raw.di_mode), 'the type of a file');
  const links = raw.di_version === 1 ? raw.di_onlink : raw.di_nlink;
  if (links === 0) throw wrong('di_nlink', 0, 'at least 1');
  if (raw.di_size >= 2n ** 63n) throw wrong('di_size', raw.di_size, 'below 2^63');
  if (inodeFlags.has(raw.di_flags, 'REALTIME')) throw wrong('di_flags', 'REALTIME', 'no realtime device');
  const flags2 = Number((third?.di_flags2 ?? 0n) & 0xffff_ffffn);
  const wide = inodeFlags2.has(flags2, 'NREXT64');

  const start = third === undefined ? inodeCore.size : inodeCoreV3.size;
  const attributesStart = start + raw.di_forkoff * 8;
  if (attributesStart >= inodeSize) throw wrong('di_forkoff', raw.di_forkoff, `below ${(inodeSize - start) / 8}`);
  const dataEnd = raw.di_forkoff === 0 ? inodeSize : attributesStart;
  const fork = (name: string, format: number, count: number, from: number, end: number): Fork => {
    const found = forkFormats[format];
    if (found === undefined) throw wrong(name, format, `below ${forkFormats.length}`);
    return { format: found, extentCount: count, bytes: bytes.subarray(from, end), start: from };
  };
  const nextents = wide ? toNumber(raw.di_big_nextents, { ...own, field: 'di_big_nextents' }) : raw.di_nextents;
  const anextents = wide ? raw.di_nextents : raw.di_anextents;
  const data = fork('di_format', raw.di_format, nextents, start, dataEnd);
  checkFormat(type, data.format, wrong);
  if (raw.di_forkoff !== 0 && raw.di_aformat === 0) throw wrong('di_aformat', 0, 'one that attributes can have');
  return {
    number,
    type,
    mode: raw.di_mode,
    links,
    size: raw.di_size,
    blockCount: toNumber(raw.di_nblocks, { ...own, field: 'di_nblocks' }),
    bigtime: inodeFlags2.has(flags2, 'BIGTIME'),
    data,
    attributes:
      raw.di_forkoff === 0 ? undefined : fork('di_aformat', raw.di_aformat, anextents, attributesStart, inodeSize),
    raw,
    created: third?.di_crtime,
    place: own,
  };
}

/** Where the data of each type of file can lie. */
function checkFormat(
  type: FileType,
  format: ForkFormat,
  wrong: (field: string, actual: string, expected: string) => DiskError,
): void {
  const formats: readonly ForkFormat[] =
    type === 'file'
      ? ['extents', 'btree']
      : type === 'directory'
        ? ['local', 'extents', 'btree']
        : type === 'symlink'
          ? ['local', 'extents']
          : ['device'];
  if (!formats.includes(format)) throw wrong('di_format', format, formats.join(' or '));
}
