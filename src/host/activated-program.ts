import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import { execa } from 'execa';
import { viewOf } from '../binary/layout.js';
import { DiskError } from '../error/disk-error.js';
import { unixAddress } from './abi.js';
import { wrapSystemError } from './errno.js';
import { call } from './libc.js';
import { closeFile } from './open-file.js';
import { PrivateFolder } from './private-folder.js';
import { type Ended, endOf } from './process.js';

/** sys/socket.h. */
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;

/** Bytes: the end of what a program says of its troubles is enough. */
const longestComplaint = 16 << 10;

/**
 * The kernel ends the program when we die, from before the program starts: setpriv(1) asks for it, and the shell looks
 * whether we were still there when it had (`$PPID`). Without a setpriv that knows how, the program is told by the end of
 * its connection alone. LISTEN_PID is the number of the process that becomes the program, and 3 its first descriptor.
 */
const launcher =
  'inner=$1; shift; p=; setpriv --pdeathsig TERM true 2>/dev/null && p="setpriv --pdeathsig TERM"; exec $p sh -c "$inner" sh "$@"';
const inner = '[ "$PPID" = "$1" ] || exit 1; shift; LISTEN_PID=$$ exec "$@" 3<&0 </dev/null';

/** A server of somebody else's that works for us alone, and ends with us. */
export interface ActivatedProgram {
  /** Our connection to it: the only one that there will ever be. */
  readonly socket: Socket;
  /** Rejects with DiskError when it could not be started. */
  readonly ended: Promise<Ended>;
  /** The end of what it has written to standard error. */
  complaint(): string;
  send(signal: NodeJS.Signals): void;
}

/**
 * Starts a server that takes its listening socket from whoever starts it (sd_listen_fds(3)). We are connected before it
 * starts, and the socket has lost its name by then: nobody else can reach it, and nothing is left behind, however either
 * of us ends. It has its own session, so that a Ctrl-C reaches us first.
 *
 * @throws {DiskError} IO
 */
export async function startActivated(path: string, args: readonly string[]): Promise<ActivatedProgram> {
  const { listening, socket } = await connectedPair();
  // execa takes no plain number. Nothing is ever written to it.
  const passed = new Socket({ fd: listening, readable: false, writable: true });
  try {
    const child = execa('sh', ['-c', launcher, 'sh', inner, String(process.pid), path, ...args], {
      stdin: passed,
      stdout: 'ignore',
      stderr: 'pipe',
      env: { LC_ALL: 'C', LISTEN_FDS: '1' },
      detached: true,
      cleanup: false,
      buffer: false,
      reject: false,
    });
    let said = Buffer.alloc(0);
    child.stderr.on('data', (chunk: Buffer) => {
      said = Buffer.concat([said, chunk]).subarray(-longestComplaint);
    });
    const ended = endOf(path, child);
    // Whoever waits for it is told.
    ended.catch(() => {});
    const send = (signal: NodeJS.Signals) => void child.kill(signal);
    return { socket, ended, complaint: () => said.toString(), send };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    // Its own one is what counts: when that goes, so does our connection.
    passed.destroy();
  }
}

/** A listening socket without a name, and a connection that waits there to be accepted. */
async function connectedPair(): Promise<{ listening: number; socket: Socket }> {
  await using folder = await PrivateFolder.create();
  const path = folder.path('socket');
  const listening = Number(call('socket', `for ${path}`, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  try {
    const address = addressOf(path);
    call('bind', `to ${path}`, listening, address, address.length);
    call('listen', `on ${path}`, listening, 1);
    const socket = connect({ path, allowHalfOpen: false });
    await once(socket, 'connect').catch((error: unknown) => {
      throw wrapSystemError(`connect to ${path}`, error);
    });
    // Until somebody listens to it, there is nobody to tell.
    socket.on('error', () => {});
    return { listening, socket };
  } catch (error) {
    await closeFile(listening);
    throw error;
  }
}

function addressOf(path: string): Uint8Array {
  const name = Buffer.from(path);
  const { size } = unixAddress.fields.sun_path;
  if (name.length >= size) {
    throw new DiskError('IO', `${path}: too long for a socket: set TMPDIR to a shorter path`, {
      errno: 'ENAMETOOLONG',
    });
  }
  const address = new Uint8Array(unixAddress.size);
  const field = new Uint8Array(size);
  field.set(name);
  unixAddress.put(viewOf(address), { sun_family: AF_UNIX, sun_path: field });
  return address;
}
