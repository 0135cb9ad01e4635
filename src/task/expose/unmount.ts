import { setTimeout as sleep } from 'node:timers/promises';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { flock } from '../../host/fs-ext.js';
import { unmountFuse } from '../../host/fuse-mount.js';
import { closeFile, findFile, reopen } from '../../host/open-file.js';
import type { TaskContext } from '../context.js';
import { ourMountAt, realPath } from './mount-point.js';
import { findUsers } from './users.js';

/** Milliseconds between looks whether the server has ended. */
const interval = 20;

/**
 * Unmounts a disk that is shown as a file or a folder, dead or alive, and waits until its server has made everything
 * durable and let go of the image.
 *
 * @throws {DiskError} NOT_FOUND when no disk is shown there; BUSY, saying who uses it; CANCELLED while waiting
 */
export async function unexpose(path: string, { signal }: TaskContext): Promise<void> {
  const real = await realPath(path);
  if (ourMountAt(real) === undefined) {
    throw new DiskError('NOT_FOUND', `${path}: no disk is shown there`, { device: path });
  }
  const { text } = await findUsers(real);
  if (!(await unmountFuse(real))) {
    throw new DiskError('BUSY', `${path}: in use by ${text}: unmount and close it there first`, { device: path });
  }
  await waitUntilFree(real, signal);
}

/** Waits for the server's lock on what it was mounted on; where that is gone as well, so is the server. */
async function waitUntilFree(real: string, signal: AbortSignal | undefined): Promise<void> {
  const found = await findFile(real).catch((error: unknown) => {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  });
  if (found === undefined) return;
  try {
    const fd = await reopen(found.fd, 'read', real);
    try {
      while (!flock(fd, 'exclusive', real)) {
        if (signal?.aborted) throw DiskError.cancelled(signal);
        await sleep(interval);
      }
    } finally {
      await closeFile(fd);
    }
  } finally {
    await closeFile(found.fd);
  }
}
