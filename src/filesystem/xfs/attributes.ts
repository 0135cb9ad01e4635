import { viewOf } from '../../binary/layout.js';
import type { DeviceNumber, FileAttributes } from '../file.js';
import { permissions } from '../posix.js';
import { bigtimeEpoch } from './file-on-disk.js';
import type { Inode } from './inode.js';

/** What stat(2) tells of an inode. */
export function attributesOf(inode: Inode, blockSize: number): FileAttributes {
  const { raw, bigtime, created, data, type } = inode;
  return {
    mode: inode.mode & permissions,
    uid: raw.di_uid,
    gid: raw.di_gid,
    size: inode.size,
    links: inode.links,
    allocated: BigInt(inode.blockCount) * BigInt(blockSize),
    device: type === 'char' || type === 'block' ? deviceOf(data.bytes) : undefined,
    atimeNs: timeOf(raw.di_atime, bigtime),
    mtimeNs: timeOf(raw.di_mtime, bigtime),
    ctimeNs: timeOf(raw.di_ctime, bigtime),
    birthNs: created === undefined ? undefined : timeOf(created, bigtime),
  };
}

const second = 1_000_000_000n;

/** Nanoseconds since 1970. XFS Algorithms & Data Structures: Timestamps. */
function timeOf(stored: bigint, bigtime: boolean): bigint {
  if (bigtime) return stored - bigtimeEpoch * second;
  return BigInt.asIntN(32, stored >> 32n) * second + BigInt.asUintN(32, stored);
}

/** As old systems numbered them: 14 bits of major, 18 of minor (linux/kdev_t.h: sysv_major, sysv_minor). */
function deviceOf(fork: Uint8Array): DeviceNumber {
  const number = viewOf(fork).getUint32(0);
  return { major: (number >>> 18) & 0x3fff, minor: number & 0x3_ffff };
}
