import { viewOf } from '../../binary/layout.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import { type AclEntry, aclTags, aclXattr } from '../posix.js';
import { aclEntry, aclHeader, aclVersion } from './file-on-disk.js';

/** Bytes of a user's or group's number. */
const idSize = 4;

/**
 * An access list as getxattr(2) gives it: on the disk, entries that need no number have no room for one.
 *
 * @throws {DiskError} CORRUPT
 */
export function aclToXattr(value: Uint8Array, place: Place): Uint8Array {
  const view = viewOf(value);
  const wrong = (field: string, actual: number, expected: string | number) =>
    DiskError.corrupt({ ...place, structure: `access list of ${place.structure}`, field, actual, expected });
  if (value.length < aclHeader.size) throw wrong('size', value.length, `at least ${aclHeader.size}`);
  const { a_version: version } = aclHeader.at(view);
  if (version !== aclVersion) throw wrong('a_version', version, aclVersion);
  const entries: AclEntry[] = [];
  for (let at = aclHeader.size; at < value.length; ) {
    if (at + aclEntry.size > value.length) throw wrong('size', value.length, 'whole entries');
    const { e_tag: tag, e_perm: permissions } = aclEntry.at(view, at);
    at += aclEntry.size;
    const named = aclTags.named.some((known) => known === tag);
    if (!named && !aclTags.unnamed.some((known) => known === tag)) throw wrong('e_tag', tag, 'one that there is');
    if (named && at + idSize > value.length) throw wrong('size', value.length, 'whole entries');
    entries.push({ tag, permissions, id: named ? view.getUint32(at, true) : undefined });
    if (named) at += idSize;
  }
  return aclXattr(entries);
}
