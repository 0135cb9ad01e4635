import { constants } from 'node:fs';
import type { Socket } from 'node:net';
import { call, tryCall } from './libc.js';

/** Sends on the descriptors of connected sockets, for those who need less than a stream costs: send(2), sendfile(2). */

const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_MORE = 0x8000;
/** asm-generic/socket.h. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_PEERCRED = 17;
const SO_SNDTIMEO = 21;

/** Bytes: with 2 MiB one connection is read 1.7 times as fast as with the usual 208 KiB, with 4 MiB no faster. */
const sendBuffer = 2 << 20;

/** Bytes of a file that are sent before the clock is looked at. */
const filePart = 256 << 10;

/**
 * The descriptor of a plain connected socket; undefined for one with TLS, past which nothing may be sent, and where Node
 * does not tell.
 */
export function socketFd(socket: Socket): number | undefined {
  if ('encrypted' in socket) return undefined;
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null || !('fd' in handle)) return undefined;
  return typeof handle.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined;
}

/**
 * The process that listens, or listened first, at the other end of a connected unix socket: unix(7), SO_PEERCRED.
 *
 * @returns undefined where that is not told, or it lives where we do not see it
 */
export function peerPid(fd: number): number | undefined {
  // struct ucred: pid, uid, gid.
  const credentials = new Int32Array(3);
  if (tryCall('getsockopt', fd, SOL_SOCKET, SO_PEERCRED, credentials, [credentials.byteLength]) !== 0) return undefined;
  const [pid = 0] = credentials;
  return pid > 0 ? pid : undefined;
}

/** Another descriptor of the same socket, which lives on when the first is closed. */
export function duplicate(fd: number): number {
  return Number(call('fcntlNumber', 'of a socket', fd, F_DUPFD_CLOEXEC, 0));
}

/**
 * Sends what the socket takes at once.
 *
 * @returns bytes; 0 also when the connection is broken, which the socket's owner learns from its next write
 */
export function sendNow(fd: number, bytes: Uint8Array): number {
  return Math.max(0, Number(tryCall('send', fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

/**
 * Receives what has arrived.
 *
 * @returns bytes; 0 when there is nothing, and also when the other side has hung up, which the socket's owner learns
 */
export function receiveNow(fd: number, into: Uint8Array): number {
  return Math.max(0, Number(tryCall('recv', fd, into, into.length, MSG_DONTWAIT)));
}

/**
 * Lets the kernel hold several large replies for a client on a unix socket, as far as the system allows
 * (net.core.wmem_max): by default they do not fit, and each has to wait until the client has taken a part of it. A TCP
 * socket fits its buffer to the network by itself.
 */
export function widenSends(fd: number): void {
  call('setsockopt', 'of a send buffer', fd, SOL_SOCKET, SO_SNDBUF, Int32Array.of(sendBuffer), 4);
}

/** Has {@link sendFile} on this socket, where it may wait, give up after so many milliseconds without progress. */
export function limitSends(fd: number, milliseconds: number): void {
  const limit = BigInt64Array.of(0n, BigInt(milliseconds) * 1000n);
  call('setsockopt', 'of a send timeout', fd, SOL_SOCKET, SO_SNDTIMEO, limit, 16);
}

/**
 * Sends `head`, then bytes of a file from the page cache, without copying them.
 *
 * @param patience milliseconds that the thread may be held up by a client that is slower, as set by {@link limitSends}:
 * less work than coming back for each part of a large reply. 0: none
 * @returns bytes of both; fewer than asked when the client is too slow, gone, or the file ends
 */
export function sendFile(
  socket: number,
  head: Uint8Array,
  file: number,
  offset: bigint,
  length: number,
  patience: number,
): number {
  const waiting = patience > 0;
  const until = performance.now() + patience;
  const position = [offset];
  let sent = 0;
  if (waiting) call('fcntlNumber', 'of a socket', socket, F_SETFL, constants.O_RDWR);
  try {
    sent = Math.max(0, Number(tryCall('send', socket, head, head.length, MSG_NOSIGNAL | MSG_MORE)));
    while (sent >= head.length && sent < head.length + length) {
      const part = Math.min(filePart, head.length + length - sent);
      const now = Math.max(0, Number(tryCall('sendfile', socket, file, position, part)));
      sent += now;
      // The limit on waiting begins anew with each page.
      if (now < part || (waiting && performance.now() > until)) break;
    }
  } finally {
    if (waiting) call('fcntlNumber', 'of a socket', socket, F_SETFL, constants.O_RDWR | constants.O_NONBLOCK);
  }
  return sent;
}
