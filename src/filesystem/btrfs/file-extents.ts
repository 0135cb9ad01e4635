import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import {
  type Compression,
  compressions,
  fileExtent,
  fileExtentHead,
  fileExtentTypes,
  largestCompressed,
} from './file-on-disk.js';
import type { Inode } from './inode.js';
import { keyTypes } from './on-disk.js';
import { type Item, itemsOf } from './tree.js';
import type { BtrfsVolume } from './volume.js';

/** A part of a file that is no hole. In bytes. */
export interface FilePart {
  readonly fileOffset: bigint;
  /** Of content. */
  readonly fileLength: bigint;
  readonly compression: Compression;
  readonly unwritten: boolean;
  /** Where on the device each copy of it begins; of what is compressed, each copy of the whole extent. */
  readonly places: readonly [bigint, ...bigint[]];
  /** From each of those. */
  readonly length: bigint;
  /** Of what is compressed: of content before this part, and in all. */
  readonly skip: number;
  readonly whole: number;
  /** What lies in the item itself. */
  readonly inline: Uint8Array | undefined;
  readonly place: Place;
}

/**
 * The parts of a file, ascending: none overlap.
 *
 * @param from the first that may come begins here
 * @throws {DiskError} CORRUPT; UNSUPPORTED for one that is encrypted; IO, CANCELLED
 */
export async function* fileParts(
  volume: BtrfsVolume,
  inode: Inode,
  options: RequestOptions,
  from = 0n,
): AsyncGenerator<FilePart, void, undefined> {
  const key = { objectid: inode.number, type: keyTypes.EXTENT_DATA, offset: from };
  let end = 0n;
  for await (const item of itemsOf(volume, inode.subvolume.root, key, options)) {
    if (item.key.offset < end) {
      const { place } = item;
      throw DiskError.corrupt({ ...place, field: 'file offset', actual: item.key.offset, expected: `from ${end} on` });
    }
    const head = readHead(item);
    const part = head.type === 'inline' ? inlinePart(item, head) : await extentPart(volume, item, head, options);
    end = part.fileOffset + part.fileLength;
    if (part.length > 0n) yield part;
  }
}

interface Head {
  readonly type: keyof typeof fileExtentTypes;
  readonly compression: Compression;
  readonly contentSize: bigint;
}

function readHead({ data, place }: Item): Head {
  const wrong = (field: string, actual: number | bigint, expected: string) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  if (data.length < fileExtentHead.size) throw wrong('size', data.length, `at least ${fileExtentHead.size}`);
  const { type: number, compression: how, encryption, other_encoding, ram_bytes } = fileExtentHead.at(viewOf(data));
  const types = ['inline', 'regular', 'preallocated'] as const;
  const type = types.find((name) => fileExtentTypes[name] === number);
  if (type === undefined) throw wrong('type', number, 'below 3');
  const compression = compressions[how];
  if (compression === undefined || encryption !== 0 || other_encoding !== 0) {
    const field = compression === undefined ? 'compression' : 'encryption';
    throw DiskError.unsupported({ ...place, field, actual: compression === undefined ? how : encryption });
  }
  if (compression !== 'none' && ram_bytes > BigInt(largestCompressed)) {
    throw wrong('ram_bytes', ram_bytes, `at most ${largestCompressed}`);
  }
  return { type, compression, contentSize: ram_bytes };
}

function inlinePart({ key, data, place }: Item, { compression, contentSize }: Head): FilePart {
  const inline = data.subarray(fileExtentHead.size);
  const wrong = (field: string, actual: number | bigint, expected: string) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  if (key.offset !== 0n) throw wrong('file offset', key.offset, '0, where it lies in its item');
  if (compression === 'none' && contentSize !== BigInt(inline.length)) {
    throw wrong('ram_bytes', contentSize, `${inline.length}`);
  }
  return {
    fileOffset: 0n,
    fileLength: contentSize,
    compression,
    unwritten: false,
    places: [place.offset + BigInt(fileExtentHead.size)],
    length: BigInt(inline.length),
    skip: 0,
    whole: Number(contentSize),
    inline,
    place,
  };
}

async function extentPart(volume: BtrfsVolume, item: Item, head: Head, options: RequestOptions): Promise<FilePart> {
  const { key, data, place } = item;
  const { compression, contentSize, type } = head;
  const unit = BigInt(volume.superblock.sectorSize);
  const wrong = (field: string, actual: number | bigint, expected: string) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  if (data.length !== fileExtent.size) throw wrong('size', data.length, `${fileExtent.size}`);
  const raw = fileExtent.at(viewOf(data));
  const aligned = { 'file offset': key.offset, disk_bytenr: raw.disk_bytenr, offset: raw.offset };
  for (const [field, value] of Object.entries({ ...aligned, num_bytes: raw.num_bytes })) {
    if (value % unit !== 0n) throw wrong(field, value, `a multiple of ${unit}`);
  }
  const { num_bytes: fileLength, offset: skip } = raw;
  if (fileLength === 0n || key.offset + fileLength > 2n ** 63n) throw wrong('num_bytes', fileLength, 'an end to 2^63');
  const common = { fileOffset: key.offset, fileLength, compression, unwritten: type === 'preallocated', place };
  if (raw.disk_bytenr === 0n) {
    return { ...common, places: [0n], length: 0n, skip: 0, whole: 0, inline: undefined };
  }
  const encoded = compression !== 'none';
  const most = encoded ? contentSize : raw.disk_num_bytes;
  if (skip + fileLength > most) throw wrong('num_bytes', fileLength, `at most ${most} with offset`);
  if (raw.disk_num_bytes === 0n || (encoded && raw.disk_num_bytes > BigInt(largestCompressed))) {
    throw wrong('disk_num_bytes', raw.disk_num_bytes, `1 to ${largestCompressed}`);
  }
  const chunks = await volume.chunks(options);
  const [first, ...others] = chunks.places(raw.disk_bytenr, raw.disk_num_bytes, { ...place, field: 'disk_bytenr' });
  const shift = encoded ? 0n : skip;
  return {
    ...common,
    places: [first + shift, ...others.map((copy) => copy + shift)],
    length: encoded ? raw.disk_num_bytes : fileLength,
    skip: encoded ? Number(skip) : 0,
    whole: encoded ? Number(contentSize) : 0,
    inline: undefined,
  };
}
