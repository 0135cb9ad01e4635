import { readFileSync, statfsSync } from 'node:fs';
import { readMounts } from './mounts.js';

/** statfs(2)'s f_type, for descriptors whose mount is not to be seen: linux/magic.h, and zfs's own header. */
const magics: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlay'],
  [0x6969, 'nfs'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb3'],
  [0x65735546, 'fuse'],
  [0x2fc12fc1, 'zfs'],
  [0x4d44, 'vfat'],
  [0x2011bab0, 'exfat'],
  [0x01021997, '9p'],
  [0xca451a4e, 'bcachefs'],
  [0xf2f52010, 'f2fs'],
]);

export interface HostFilesystem {
  /** As /proc/self/mountinfo spells it: `ext4`, `overlay`, `fuse.sshfs`; `unknown` when nobody can tell. */
  readonly type: string;
}

/** What the host keeps an open file on. */
export function hostFilesystem(fd: number): HostFilesystem {
  return { type: byMount(fd) ?? byMagic(fd) ?? 'unknown' };
}

/** By the id of the mount that the file was opened through: proc(5), /proc/PID/fdinfo and /proc/PID/mountinfo. */
function byMount(fd: number): string | undefined {
  try {
    const id = /^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
    return readMounts().find((mount) => String(mount.id) === id)?.type;
  } catch {
    return undefined;
  }
}

function byMagic(fd: number): string | undefined {
  try {
    return magics.get(statfsSync(`/proc/self/fd/${fd}`).type);
  } catch {
    return undefined;
  }
}
