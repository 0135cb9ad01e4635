import { setTimeout as sleep } from 'node:timers/promises';
import type { FuseMount } from '../../fuse/mount.js';
import { aborted, type TaskContext } from '../context.js';
import { findUsers } from './users.js';

/** Milliseconds that who has a file open is given, as clients of an NBD server that ends are. */
const grace = 3000;

/**
 * Unmounts what is shown. Where it is in use it goes out of sight, and who has it open is answered for a while; for as long
 * as a loop device is on it, whose filesystem the kernel would lose otherwise, unless the user insists.
 */
export async function putAway(mount: FuseMount, { insisted, onWarning }: TaskContext): Promise<void> {
  try {
    if (await mount.unmount()) return;
    const { loops, text } = await findUsers(mount.path);
    await mount.detach();
    const ends: Promise<unknown>[] = [mount.ended, aborted(insisted)];
    const waited = new AbortController();
    if (loops.length > 0) {
      onWarning?.(
        `${mount.path} is in use by ${text}: it goes on until that is unmounted and detached, or you ask again`,
      );
    } else ends.push(sleep(grace, undefined, { signal: waited.signal }).catch(() => {}));
    await Promise.race(ends);
    waited.abort();
  } finally {
    await mount.close();
  }
}
