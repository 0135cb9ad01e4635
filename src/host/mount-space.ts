import { close, constants, open } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import { wrapSystemError } from './errno.js';
import { callLater } from './libc.js';

/** How full a mounted filesystem is; all numbers are bytes. */
export interface MountSpace {
  readonly size: bigint;
  /** What this process may fill with a file. */
  readonly free: bigint;
}

/** @param type as the kernel spells it */
export async function mountSpace(mountPoint: string, type: string): Promise<MountSpace> {
  try {
    const { bsize, blocks, bfree, bavail } = await statfs(mountPoint, { bigint: true });
    // Some keep room for root; but what btrfs counts as free beyond the available no file can have.
    const all = process.getuid?.() === 0 && type !== 'btrfs';
    return { size: blocks * bsize, free: (all ? bfree : bavail) * bsize };
  } catch (error) {
    throw wrapSystemError(`statfs of ${mountPoint}`, error, { device: mountPoint });
  }
}

const openFd = promisify(open);
const closeFd = promisify(close);

/** Waits until all that was changed on a mounted filesystem is on its disk: also what was removed. */
export async function syncMount(mountPoint: string): Promise<void> {
  const fd = await openFd(mountPoint, constants.O_RDONLY | constants.O_DIRECTORY).catch((error: unknown) => {
    throw wrapSystemError(`open ${mountPoint}`, error, { device: mountPoint });
  });
  try {
    await callLater('syncfs', `of ${mountPoint}`, fd);
  } finally {
    await closeFd(fd);
  }
}
