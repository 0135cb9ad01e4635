import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { DiskError } from '../error/disk-error.js';
import { systemError } from './errno.js';

/** Programs of others: where they are, and how they are run. */

/** Where administrators' programs are, which a user's PATH leaves out. */
const administrators = ['/usr/sbin', '/sbin', '/usr/local/sbin'];

/** The path of a program on the PATH or among the administrators' programs, or undefined. A name with a slash is a path. */
export function findProgram(name: string): string | undefined {
  if (name.includes('/')) return isExecutable(resolve(name)) ? resolve(name) : undefined;
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter(isAbsolute), ...administrators];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** @throws {DiskError} NOT_FOUND, with `advice`: `install util-linux` */
export function requireProgram(name: string, advice: string): string {
  const found = findProgram(name);
  if (found === undefined) throw new DiskError('NOT_FOUND', `${name}: no such program: ${advice}`, { errno: 'ENOENT' });
  return found;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** How a program ended. */
export interface Ended {
  /** Its exit status; undefined when a signal ended it. */
  readonly status: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

export interface ProgramResult extends Ended {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end with nothing on its standard input, in the C locale. A status other than 0 is an answer.
 *
 * @throws {DiskError} IO, NOT_FOUND when it cannot be started; CANCELLED
 */
export async function runProgram(
  path: string,
  args: readonly string[],
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ProgramResult> {
  if (signal?.aborted) throw DiskError.cancelled(signal);
  const result = await execa(path, args, {
    stdin: 'ignore',
    env: { LC_ALL: 'C' },
    reject: false,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  if (result.isCanceled) throw DiskError.cancelled(signal);
  if (result.exitCode === undefined && result.signal === undefined) {
    throw systemError(`start ${path}`, result.code ?? 'EIO', { cause: result.cause });
  }
  return { status: result.exitCode, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
}

/** A user's command at work. */
export interface Command {
  /** Settles when it has ended; rejects with DiskError when it could not be started. */
  readonly ended: Promise<Ended>;
  /** Sends a signal to it and to what it started. */
  send(signal: NodeJS.Signals): void;
}

/**
 * Starts a user's command on our own standard streams, in a session and process group of its own: so that it outlives us,
 * and that a Ctrl-C reaches us first.
 */
export function startCommand(command: readonly string[]): Command {
  const [name = '', ...args] = command;
  const child = execa(name, args, { ...ofUsers, detached: true });
  const { pid } = child;
  return { ended: endOf(name, child), send: (signal) => pid !== undefined && sendTo(-pid, signal) };
}

/** Sends a signal to a process, or to the process group -`pid`, if it is there and ours. */
export function sendTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Nobody is left, or it is somebody else's.
  }
}

/** How a user's command is started. */
export const ofUsers = { stdio: 'inherit', cleanup: false, reject: false } as const;

/** What is told of how a child process of execa ended. */
interface Outcome {
  readonly exitCode?: number | undefined;
  readonly signal?: NodeJS.Signals | undefined;
  readonly code?: string | undefined;
  readonly cause?: unknown;
}

/** How a child process of execa ended; rejects with DiskError when it could not be started. */
export async function endOf(name: string, child: PromiseLike<Outcome>): Promise<Ended> {
  const { exitCode, signal, code, cause } = await child;
  if (exitCode === undefined && signal === undefined) throw systemError(`start ${name}`, code ?? 'EIO', { cause });
  return { status: exitCode, signal };
}

/** A program of our own that outlives us, and is spoken to in lines. */
export interface Helper {
  readonly pid: number | undefined;
  readonly lines: AsyncIterable<string>;
  send(line: string): void;
  readonly ended: Promise<Ended>;
  /** Lets go of it: it no longer keeps this process from ending, and is heard no more. */
  detach(): void;
}

/** Starts a JavaScript file of ours in a session of its own, with its working directory at /. */
export function startHelper(file: string, argument: string): Helper {
  const child = execa(process.execPath, [file, argument], {
    cwd: '/',
    // What a debugger or a test runner asks of every Node must not reach this one.
    env: { NODE_OPTIONS: '' },
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'ignore',
    detached: true,
    cleanup: false,
    buffer: false,
    reject: false,
  });
  // It may end at any time: what is written to it then is lost, and `ended` tells.
  child.stdin.on('error', () => {});
  return {
    pid: child.pid,
    lines: createInterface({ input: child.stdout }),
    send: (line) => void child.stdin.write(`${line}\n`),
    ended: child.then(({ exitCode, signal }) => ({ status: exitCode, signal })),
    detach: () => {
      child.unref();
      child.stdin.destroy();
      child.stdout.destroy();
    },
  };
}
