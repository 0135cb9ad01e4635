import { layout, u32, u64, viewOf } from '../binary/layout.js';
import { type RangeSet, RangeSetBuilder } from '../binary/range-set.js';
import { tryCall } from './libc.js';

/** Where a host file occupies room: FS_IOC_FIEMAP, Documentation/filesystems/fiemap.rst. */

const FS_IOC_FIEMAP = 0xc020660b;
const FIEMAP_FLAG_SYNC = 1;
const FIEMAP_EXTENT_LAST = 1;

const spec = 'Documentation/filesystems/fiemap.rst';
const request = layout(
  'fiemap',
  { size: 32, endian: 'little', spec },
  {
    fm_start: u64(0, 'bytes', 'first byte to map'),
    fm_length: u64(8, 'bytes', 'how many to map'),
    fm_flags: u32(16, 'flags', 'FIEMAP_FLAG_SYNC: write out what is delayed first'),
    fm_mapped_extents: u32(20, 'count', 'extents that the kernel filled in'),
    fm_extent_count: u32(24, 'count', 'extents that there is room for'),
  },
);
const extent = layout(
  'fiemap_extent',
  { size: 56, endian: 'little', spec },
  {
    fe_logical: u64(0, 'bytes', 'offset in the file'),
    fe_physical: u64(8, 'bytes', 'offset on its device'),
    fe_length: u64(16, 'bytes', 'length'),
    fe_flags: u32(40, 'flags', 'FIEMAP_EXTENT_LAST and what the extent is'),
  },
);
const extentsACall = 512;

/** Extents that other files share are copied before they change: FIEMAP_EXTENT_SHARED. */
const FIEMAP_EXTENT_SHARED = 0x2000;

/**
 * The ranges of a file for which the host has set room aside, those preallocated and never written among them, which
 * SEEK_DATA shows as holes.
 *
 * @returns undefined where the filesystem cannot tell
 */
export function occupiedRanges(fd: number, size: bigint): RangeSet | undefined {
  const occupied = new RangeSetBuilder();
  const told = eachExtent(fd, size, ({ offset, length }) => {
    occupied.add(offset, length);
    return true;
  });
  return told ? occupied.finish() : undefined;
}

/** Whether any part of a file shares its room with another file; false where the filesystem cannot tell. */
export function hasSharedExtents(fd: number, size: bigint): boolean {
  let shared = false;
  eachExtent(fd, size, ({ flags }) => {
    shared = (flags & FIEMAP_EXTENT_SHARED) !== 0;
    return !shared;
  });
  return shared;
}

/** Where a part of a file lies, as its filesystem tells it. */
export interface HostExtent {
  /** Bytes from the start of the file. */
  readonly offset: bigint;
  /** Bytes. */
  readonly length: bigint;
  /** Bytes from the start of the filesystem's device. */
  readonly place: bigint;
  /** Of linux/fiemap.h. */
  readonly flags: number;
}

/**
 * Calls `found` for the extents of a file in ascending order, until it returns false.
 *
 * @param size bytes: how far to look
 * @returns false where the filesystem cannot tell
 */
export function eachExtent(fd: number, size: bigint, found: (extent: HostExtent) => boolean): boolean {
  const memory = new Uint8Array(request.size + extentsACall * extent.size);
  const view = viewOf(memory);
  for (let at = 0n; at < size; ) {
    request.put(view, {
      fm_start: at,
      fm_length: size - at,
      fm_flags: FIEMAP_FLAG_SYNC,
      fm_mapped_extents: 0,
      fm_extent_count: extentsACall,
    });
    const answer = tryCall('ioctl', fd, FS_IOC_FIEMAP, memory);
    if (answer < 0) return false;
    const count = request.at(view).fm_mapped_extents;
    if (count === 0) break;
    for (let i = 0; i < count; i++) {
      const { fe_logical, fe_length, fe_flags, fe_physical } = extent.at(view, request.size + i * extent.size);
      const told = { offset: fe_logical, length: fe_length, place: fe_physical, flags: fe_flags };
      if (!found(told) || (fe_flags & FIEMAP_EXTENT_LAST) !== 0) return true;
      // Extents come in ascending order: one that does not move forward is the end.
      at = fe_logical + fe_length > at ? fe_logical + fe_length : size;
    }
  }
  return true;
}
