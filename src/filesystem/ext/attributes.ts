import { viewOf } from '../../binary/layout.js';
import type { DeviceNumber, FileAttributes } from '../file.js';
import { permissions } from '../posix.js';
import { deviceNumber, extInodeExtra } from './file-on-disk.js';
import type { Inode } from './inode.js';

/** What stat(2) tells of an inode. */
export function attributesOf(inode: Inode): FileAttributes {
  const { raw, extra, type } = inode;
  const hasBirth = extra.i_extra_isize >= extInodeExtra.fields.i_crtime_extra.offset;
  return {
    mode: inode.mode & permissions,
    uid: raw.l_i_uid_high * 0x1_0000 + raw.i_uid,
    gid: raw.l_i_gid_high * 0x1_0000 + raw.i_gid,
    size: BigInt(inode.size),
    links: inode.links,
    allocated: BigInt(inode.allocated),
    device: type === 'char' || type === 'block' ? deviceOf(inode) : undefined,
    atimeNs: timeOf(raw.i_atime, extra.i_atime_extra),
    mtimeNs: timeOf(raw.i_mtime, extra.i_mtime_extra),
    ctimeNs: timeOf(raw.i_ctime, extra.i_ctime_extra),
    birthNs: hasBirth ? timeOf(extra.i_crtime, extra.i_crtime_extra) : undefined,
  };
}

/**
 * Nanoseconds since 1970. The seconds are signed; the epoch bits add to them.
 * Documentation/filesystems/ext4: Inode Timestamps.
 */
function timeOf(seconds: number, extra: number): bigint {
  const whole = seconds + (extra & 3) * 2 ** 32;
  return BigInt(whole) * 1_000_000_000n + BigInt(extra >>> 2);
}

function deviceOf({ raw }: Inode): DeviceNumber {
  const { old, new: wide } = deviceNumber.at(viewOf(raw.i_block));
  return old !== 0
    ? { major: (old >>> 8) & 0xff, minor: old & 0xff }
    : { major: (wide >>> 8) & 0xfff, minor: (wide & 0xff) | ((wide >>> 12) & 0xfff00) };
}
