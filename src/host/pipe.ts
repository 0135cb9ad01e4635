import { constants, open, write } from 'node:fs';
import { promisify } from 'node:util';
import { errnoOf, wrapSystemError } from './errno.js';
import { callLater, tryCall } from './libc.js';

/** Descriptors that take bytes in order and may make the writer wait: pipes, FIFOs, sockets, character devices. */

const openFd = promisify(open);

/** linux/fcntl.h and asm-generic/poll.h. */
const F_SETPIPE_SZ = 1031;
const POLLOUT = 4;
const POLLERR = 0x8;
const POLLHUP = 0x10;
/** Bytes: the largest that a plain user may ask for. */
const pipeSize = 1 << 20;
/** Milliseconds: how long a stop can go unseen. */
const pollInterval = 100;

/**
 * Opens what is there for writing, so that neither this nor a write to it ever waits for its reader.
 *
 * @returns undefined while a FIFO has no reader yet
 */
export async function openForStreaming(path: string, what: string): Promise<number | undefined> {
  try {
    return await openFd(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    if (errnoOf(error) === 'ENXIO') return undefined;
    throw wrapSystemError(`open ${what}`, error);
  }
}

/** Makes a pipe hold more at a time, where it is one and the system allows it. */
export function widenPipe(fd: number): void {
  tryCall('fcntlNumber', fd, F_SETPIPE_SZ, pipeSize);
}

/**
 * Writes at the descriptor's own position.
 *
 * @returns bytes written; none when it would have to wait
 */
export function writeNext(fd: number, from: Uint8Array, what: string): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, from, 0, from.length, null, (error, written) => {
      if (error === null) resolve(written);
      else if (error.code === 'EAGAIN') resolve(0);
      else reject(wrapSystemError(`write to ${what}`, error));
    });
  });
}

/** Resolves when a descriptor can take bytes, or has failed, or a tenth of a second has passed. */
export async function waitWritable(fd: number, what: string): Promise<void> {
  // struct pollfd: int fd, short events, short revents, in the machine's own byte order.
  const request = Int16Array.of(0, 0, POLLOUT, 0);
  new Int32Array(request.buffer)[0] = fd;
  await callLater('poll', `of ${what}`, request, 1, pollInterval).catch((error: unknown) => {
    if (errnoOf(error) !== 'EINTR') throw error;
  });
}

/** Whether the other side of a terminal or pipe is gone: a read of a terminal then is of no bytes, as it may be of none yet. */
export function isHungUp(fd: number): boolean {
  const request = Int16Array.of(0, 0, 0, 0);
  new Int32Array(request.buffer)[0] = fd;
  return tryCall('poll', request, 1, 0) === 1 && ((request[3] ?? 0) & (POLLERR | POLLHUP)) !== 0;
}
