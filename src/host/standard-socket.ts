import { fstatSync, type Stats } from 'node:fs';
import { Socket } from 'node:net';
import { DiskError } from '../error/disk-error.js';
import { call } from './libc.js';
import { duplicate } from './socket.js';

/** sys/socket.h. */
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;

/**
 * Our standard input and output as one connection. Where they are one socket, as from inetd or libnbd, it is that; where
 * they are two pipes, as from ssh, what goes through them is passed on.
 *
 * @throws {DiskError} USAGE when standard input or output is a terminal or a file
 */
export function standardSocket(): Socket {
  const [input, output] = [fstatSync(0), fstatSync(1)];
  const carries = (stats: Stats) => stats.isSocket() || stats.isFIFO();
  if (!carries(input) || !carries(output)) {
    throw new DiskError('USAGE', 'standard input is no connection: --single is for a program that starts us on one');
  }
  // The descriptors themselves stay: whoever opens a file next must not be given their numbers.
  if (input.isSocket() && input.ino === output.ino) return socketOf(duplicate(0));
  const pair = new Int32Array(2);
  call('socketpair', 'for standard input and output', AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
  const [ours = -1, theirs = -1] = pair;
  const from = socketOf(duplicate(0));
  const relay = socketOf(theirs);
  const to = socketOf(duplicate(1));
  const breakAll = () => {
    for (const each of [from, relay, to]) each.destroy();
  };
  // A side that breaks ends the others; there is nobody to tell.
  for (const each of [from, relay, to]) each.on('error', breakAll);
  from.pipe(relay);
  relay.pipe(to);
  return socketOf(ours);
}

function socketOf(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
}
