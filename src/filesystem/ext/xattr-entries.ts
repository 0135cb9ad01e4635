import { bytesOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import { largestXattr, xattrEntry } from './file-on-disk.js';

/** An extended attribute as it lies on the disk. */
export interface XattrEntry {
  /** What stands before the name: e_name_index. */
  readonly index: number;
  readonly name: Uint8Array;
  /** Whose content is the value; 0 when `value` is. */
  readonly valueInode: number;
  readonly valueSize: number;
  readonly value: Uint8Array;
  /** Bytes from the start of the region to the value. */
  readonly valueStart: number;
  readonly hash: number;
}

/** Bytes: entries and values start at multiples of it. */
const alignment = 4;

/**
 * The attributes of an inode's body, or of a block.
 *
 * @param region from where values are counted, to the end of the room
 * @param first bytes from its start to the first entry
 * @throws {DiskError} CORRUPT when one passes the end, or a value lies in the list of names
 */
export function readXattrEntries(region: DataView, first: number, place: Place): readonly XattrEntry[] {
  const bytes = bytesOf(region);
  const raw = [];
  let at = first;
  // Four zero bytes end the list. It ends in any case: each entry takes 16 bytes at least.
  while (at + alignment <= region.byteLength && region.getUint32(at, true) !== 0) {
    if (at + xattrEntry.size > region.byteLength) throw wrong(place, 'entry', at, `before ${region.byteLength}`);
    const entry = xattrEntry.at(region, at);
    const nameEnd = at + xattrEntry.size + entry.e_name_len;
    const name = bytes.subarray(at + xattrEntry.size, nameEnd);
    if (nameEnd > region.byteLength || name.includes(0)) throw wrong(place, 'e_name_len', entry.e_name_len);
    raw.push({ entry, name });
    at = Math.ceil(nameEnd / alignment) * alignment;
  }
  const listEnd = at + alignment;
  if (listEnd > region.byteLength) throw wrong(place, 'end of its entries', at, `before ${region.byteLength}`);
  return raw.map(({ entry, name }) => {
    const { e_name_index: index, e_value_inum: valueInode, e_value_size: valueSize, e_hash: hash } = entry;
    const valueStart = entry.e_value_offs;
    if (valueSize > largestXattr) throw wrong(place, 'e_value_size', valueSize, `at most ${largestXattr}`);
    const apart = valueInode !== 0 || valueSize === 0;
    if (!apart && (valueStart < listEnd || valueStart + valueSize > region.byteLength)) {
      throw wrong(place, 'e_value_offs', hex(valueStart), `${listEnd} to ${region.byteLength - valueSize}`);
    }
    const value = apart ? new Uint8Array(0) : bytes.subarray(valueStart, valueStart + valueSize);
    return { index, name, valueInode, valueSize, value, valueStart, hash };
  });
}

function wrong(place: Place, field: string, actual: string | number, expected?: string): DiskError {
  return DiskError.corrupt({ ...place, field, actual, expected });
}
