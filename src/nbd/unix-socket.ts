import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { DiskError } from '../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../host/errno.js';

/** Bytes: the room for a path in sockaddr_un, but its final NUL. */
const longestPath = 107;

/**
 * Makes room for a listening socket at `path`: removes a socket there on which nobody answers, and nothing else.
 *
 * @throws {DiskError} USAGE when the path is too long, or something else stands there; BUSY when somebody answers
 */
export async function clearStaleSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > longestPath) {
    throw new DiskError('USAGE', `${path}: too long for a socket, whose path has at most ${longestPath} bytes`);
  }
  const before = await statOf(path);
  if (before === undefined) return;
  if (!before.isSocket()) {
    throw new DiskError('USAGE', `${path}: is there already and is no socket: choose another path`);
  }
  if (await answers(path)) {
    throw new DiskError('BUSY', `${path}: somebody is listening there: choose another path, or end that server`);
  }
  const after = await statOf(path);
  if (after === undefined) return;
  if (after.ino !== before.ino || after.dev !== before.dev || !after.isSocket()) {
    throw new DiskError('BUSY', `${path}: somebody else is putting a socket there`);
  }
  await unlink(path).catch((error: unknown) => {
    throw wrapSystemError(`remove the stale socket ${path}`, error);
  });
}

async function statOf(path: string) {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw wrapSystemError(`look at ${path}`, error);
  }
}

/** False only when it is certain that nobody listens. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => resolve(errnoOf(error) !== 'ECONNREFUSED' && errnoOf(error) !== 'ENOENT'));
  });
}
