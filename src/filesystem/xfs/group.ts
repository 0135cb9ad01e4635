import { type ViewOf, viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import { checkCrc } from './checksum.js';
import { checkUuid } from './identity.js';
import {
  freeListMagic,
  freeMagic,
  groupVersion,
  headerSectors,
  inodesMagic,
  largestTreeHeight,
  roCompat,
  xfsAgf,
  xfsAgfl,
  xfsAgi,
} from './on-disk.js';
import { hasFreeInodeTree } from './superblock.js';
import type { XfsVolume } from './volume.js';

/** Where a tree of a group begins. */
export interface TreeRoot {
  /** In the group. */
  readonly block: number;
  readonly levels: number;
}

/** The checked facts of one allocation group. Blocks are numbered within it. */
export interface Group {
  readonly number: number;
  readonly length: number;
  readonly trees: {
    readonly bno: TreeRoot;
    readonly cnt: TreeRoot;
    readonly ino: TreeRoot;
    readonly fino?: TreeRoot | undefined;
    readonly rmap?: TreeRoot | undefined;
    readonly refcount?: TreeRoot | undefined;
  };
  /** Without those of the free list. */
  readonly freeBlockCount: number;
  /** Blocks. */
  readonly longestFree: number;
  /** Blocks that are kept for the trees of free space. */
  readonly freeList: readonly number[];
}

/** The sectors of the headers. */
const headers = { free: 1, inodes: 2, freeList: 3 };

/**
 * Reads the headers of a group.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function readGroup(volume: XfsVolume, number: number, options: RequestOptions): Promise<Group> {
  const { superblock } = volume;
  const { sectorSize, version, roCompat: features } = superblock;
  const length = volume.groupLength(number);
  const start = volume.offsetOf(volume.blockOf(number, 0));
  const all = await volume.bytes(start, headerSectors * sectorSize, volume.place(`group ${number}`, start), options);
  const sector = (index: number) => all.subarray(index * sectorSize, (index + 1) * sectorSize);
  const placeOf = (name: string, index: number) =>
    volume.place(`${name} of group ${number}`, start + BigInt(index * sectorSize));

  const freePlace = placeOf('AGF', headers.free);
  const agf = xfsAgf.at(viewOf(sector(headers.free)));
  const inodesPlace = placeOf('AGI', headers.inodes);
  const agi = xfsAgi.at(viewOf(sector(headers.inodes)));
  const equal = (
    place: Place,
    field: string,
    actual: number,
    expected: number,
    write: (value: number | bigint) => string = String,
  ) => {
    if (actual === expected) return;
    throw DiskError.corrupt({ ...place, field, actual: write(actual), expected: write(expected) });
  };
  const identity = (place: Place, index: number, uuid: Uint8Array, crc: number, prefix: string) => {
    if (version < 5) return;
    checkUuid(volume, uuid, { ...place, field: `${prefix}_uuid` });
    checkCrc(sector(index), crc, { ...place, field: `${prefix}_crc` });
  };
  equal(freePlace, 'agf_magicnum', agf.agf_magicnum, freeMagic, hex);
  identity(freePlace, headers.free, agf.agf_uuid, xfsAgf.fields.agf_crc.offset, 'agf');
  equal(freePlace, 'agf_versionnum', agf.agf_versionnum, groupVersion);
  equal(freePlace, 'agf_seqno', agf.agf_seqno, number);
  equal(freePlace, 'agf_length', agf.agf_length, length);
  equal(inodesPlace, 'agi_magicnum', agi.agi_magicnum, inodesMagic, hex);
  identity(inodesPlace, headers.inodes, agi.agi_uuid, xfsAgi.fields.agi_crc.offset, 'agi');
  equal(inodesPlace, 'agi_versionnum', agi.agi_versionnum, groupVersion);
  equal(inodesPlace, 'agi_seqno', agi.agi_seqno, number);
  equal(inodesPlace, 'agi_length', agi.agi_length, length);

  const { headerLength } = volume;
  const root = (place: Place, name: string, block: number, levels: number): TreeRoot => {
    if (block < headerLength || block >= length) {
      const expected = `${headerLength} to ${length - 1}`;
      throw DiskError.corrupt({ ...place, field: `${name}_root`, actual: block, expected });
    }
    if (levels < 1 || levels > largestTreeHeight) {
      const expected = `1 to ${largestTreeHeight}`;
      throw DiskError.corrupt({ ...place, field: `${name}_level`, actual: levels, expected });
    }
    return { block, levels };
  };
  const freeListPlace = placeOf('AGFL', headers.freeList);
  return {
    number,
    length,
    trees: {
      bno: root(freePlace, 'agf_bno', agf.agf_bno_root, agf.agf_bno_level),
      cnt: root(freePlace, 'agf_cnt', agf.agf_cnt_root, agf.agf_cnt_level),
      ino: root(inodesPlace, 'agi', agi.agi_root, agi.agi_level),
      fino: hasFreeInodeTree(superblock)
        ? root(inodesPlace, 'agi_free', agi.agi_free_root, agi.agi_free_level)
        : undefined,
      rmap: roCompat.has(features, 'RMAPBT')
        ? root(freePlace, 'agf_rmap', agf.agf_rmap_root, agf.agf_rmap_level)
        : undefined,
      refcount: roCompat.has(features, 'REFLINK')
        ? root(freePlace, 'agf_refcount', agf.agf_refcount_root, agf.agf_refcount_level)
        : undefined,
    },
    freeBlockCount: agf.agf_freeblks,
    longestFree: agf.agf_longest,
    freeList: readFreeList(volume, sector(headers.freeList), agf, { number, length }, freeListPlace),
  };
}

/** The blocks of the free list: a part of it is in use, and may go round its end. */
function readFreeList(
  volume: XfsVolume,
  sector: Uint8Array,
  { agf_flfirst: first, agf_fllast: last, agf_flcount: count }: ViewOf<typeof xfsAgf>,
  { number, length }: Pick<Group, 'number' | 'length'>,
  place: Place,
): number[] {
  const view = viewOf(sector);
  const wrong = (field: string, actual: string | number, expected: string | number) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  let start = 0;
  if (volume.superblock.version >= 5) {
    const { agfl_magicnum: magic, agfl_seqno: seqno, agfl_uuid: uuid } = xfsAgfl.at(view);
    if (magic !== freeListMagic) throw wrong('agfl_magicnum', hex(magic), hex(freeListMagic));
    if (seqno !== number) throw wrong('agfl_seqno', seqno, number);
    checkUuid(volume, uuid, { ...place, field: 'agfl_uuid' });
    checkCrc(sector, xfsAgfl.fields.agfl_crc.offset, { ...place, field: 'agfl_crc' });
    start = xfsAgfl.size;
  }
  const room = Math.floor((sector.length - start) / 4);
  if (first >= room) throw wrong('agf_flfirst', first, `below ${room}`);
  if (last >= room) throw wrong('agf_fllast', last, `below ${room}`);
  const active = count === 0 ? 0 : ((last - first + room) % room) + 1;
  if (count !== active) throw wrong('agf_flcount', count, `${active}, by its first and its last`);
  const { headerLength } = volume;
  return Array.from({ length: count }, (_, i) => {
    const block = view.getUint32(start + ((first + i) % room) * 4);
    if (block < headerLength || block >= length) throw wrong('agfl_bno', block, `${headerLength} to ${length - 1}`);
    return block;
  });
}
