import { once } from 'node:events';
import { close, constants, open, readSync, writeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { DiskError } from '../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../host/errno.js';
import { isHungUp } from '../host/pipe.js';

/** Bytes to and from a virtual machine: by a unix socket, or the character device of a pseudo-terminal or serial port. */
export interface Channel {
  readonly name: string;
  send(bytes: Uint8Array): void;
  close(): void;
}

export interface Listener {
  onData(chunk: Uint8Array): void;
  /** Once; nothing comes after it. @param error undefined: it ended in good order */
  onEnd(error: unknown): void;
}

const openFile = promisify(open);
const closeFile = promisify(close);

/** Milliseconds between looks at a character device. */
const interval = 10;

/** Milliseconds within which a socket is connected: a listener whose queue is full does not answer. */
const patience = 5000;

/**
 * @throws {DiskError} NOT_FOUND, IO; USAGE for a file that is neither
 */
export async function openChannel(path: string, listener: Listener): Promise<Channel> {
  const stats = await stat(path).catch((error: unknown) => {
    throw wrapSystemError(`connect to ${path}`, error, { device: path });
  });
  if (stats.isSocket()) return await openSocket(path, listener);
  if (stats.isCharacterDevice()) return await openDevice(path, listener);
  throw new DiskError('USAGE', `${path}: is neither a socket nor a character device`, { device: path });
}

async function openSocket(path: string, { onData, onEnd }: Listener): Promise<Channel> {
  const socket = connect({ path });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(patience) });
  } catch (error) {
    socket.destroy();
    if (errnoOf(error) !== undefined) throw wrapSystemError(`connect to ${path}`, error, { device: path });
    throw new DiskError('IO', `connect to ${path}: nobody takes the connection`, { device: path, errno: 'ETIMEDOUT' });
  }
  let ended = false;
  const end = (error?: unknown) => {
    if (!ended) onEnd(error);
    ended = true;
    socket.destroy();
  };
  socket
    .on('data', onData)
    .on('error', end)
    .on('close', () => end());
  return {
    name: path,
    send: (bytes) => void socket.write(bytes),
    close: () => {
      ended = true;
      socket.destroy();
    },
  };
}

/**
 * It is looked at again and again: a read that waits for a device cannot be taken back, and would keep the process from
 * ending.
 */
async function openDevice(path: string, { onData, onEnd }: Listener): Promise<Channel> {
  const fd = await openFile(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY).catch(
    (error: unknown) => {
      throw wrapSystemError(`open ${path}`, error, { device: path });
    },
  );
  const buffer = new Uint8Array(64 << 10);
  let unsent = Buffer.alloc(0);
  let ended = false;
  const finish = () => {
    if (ended) return;
    ended = true;
    clearInterval(timer);
    void closeFile(fd).catch(() => undefined);
  };
  const look = () => {
    try {
      if (unsent.length > 0) unsent = unsent.subarray(writeSync(fd, unsent));
      for (;;) {
        const length = readSync(fd, buffer, 0, buffer.length, null);
        if (length === 0) {
          if (!isHungUp(fd)) break;
          finish();
          onEnd(undefined);
          return;
        }
        onData(Uint8Array.from(buffer.subarray(0, length)));
        if (ended) return;
      }
    } catch (error) {
      if (errnoOf(error) === 'EAGAIN') return;
      finish();
      onEnd(error);
    }
  };
  const timer = setInterval(look, interval);
  return {
    name: path,
    send: (bytes) => {
      unsent = Buffer.concat([unsent, bytes]);
      look();
    },
    close: finish,
  };
}
