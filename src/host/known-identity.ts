import { stat } from 'node:fs/promises';
import { viewOf } from '../binary/layout.js';
import { DiskError } from '../error/disk-error.js';
import { statx } from './abi.js';
import { type FileIdentity, identify } from './file-identity.js';
import { callLater } from './libc.js';

/** linux/fcntl.h. */
const AT_FDCWD = -100;
const AT_STATX_DONT_SYNC = 0x4000;
/** linux/stat.h. */
const STATX_TYPE = 0x1;
const STATX_INO = 0x100;
/** stat(2). */
const S_IFMT = 0o170000;
const S_IFBLK = 0o060000;

/**
 * The identity of a file of which the kernel has an inode already, as of one that is open: by what it knows itself. Whoever
 * serves the filesystem is not asked: a network, or a program behind FUSE, may never answer (statx(2), AT_STATX_DONT_SYNC).
 *
 * @throws by errno
 */
export async function knownIdentity(path: string): Promise<FileIdentity> {
  const buffer = new Uint8Array(statx.size);
  try {
    const wanted = STATX_TYPE | STATX_INO;
    await callLater('statx', `of ${path}`, AT_FDCWD, path, AT_STATX_DONT_SYNC, wanted, buffer);
  } catch (error) {
    const missing = !(error instanceof DiskError) || error.facts.errno === 'ENOSYS' || error.facts.errno === 'EPERM';
    // Kernels before 4.11, a libc without the call, and sandboxes that do not know it.
    if (missing) return identify(await stat(path, { bigint: true }));
    throw error;
  }
  const { stx_mode, stx_ino: ino, ...numbers } = statx.values(viewOf(buffer));
  const dev = deviceNumber(numbers.stx_dev_major, numbers.stx_dev_minor);
  const rdev = deviceNumber(numbers.stx_rdev_major, numbers.stx_rdev_minor);
  return identify({ dev, ino, rdev, isBlockDevice: () => (stx_mode & S_IFMT) === S_IFBLK });
}

/** makedev(3), as libc encodes it. */
function deviceNumber(major: number, minor: number): bigint {
  const [a, b] = [BigInt(major), BigInt(minor)];
  return ((a & ~0xfffn) << 32n) | ((a & 0xfffn) << 8n) | ((b & ~0xffn) << 12n) | (b & 0xffn);
}
