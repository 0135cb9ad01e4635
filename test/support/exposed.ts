import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { attempt, disktoolPath } from './run.js';

/** A `disktool expose` that runs. */
export interface Exposed {
  readonly pid: number;
  /** What it said when it was ready. */
  readonly line: string;
  /** What it has said on standard error so far. */
  readonly said: () => string;
  readonly ended: Promise<readonly [status: number | null, signal: NodeJS.Signals | null]>;
  kill(signal: NodeJS.Signals): void;
  /** As a user ends it: SIGTERM. Fails when it does not exit with status 0. */
  stop(): Promise<void>;
}

/** Starts `disktool expose PATH …` until the test ends; whatever becomes of it, nothing stays mounted. */
export async function exposed(path: string, args: readonly string[], prefix: readonly string[] = []): Promise<Exposed> {
  const [program = '', ...rest] = [...prefix, process.execPath, disktoolPath, 'expose', path, ...args];
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close').then(([status, signal]) => [status, signal] as const);
  const { pid } = child;
  if (pid === undefined) throw new Error('disktool did not start');
  onTestFinished(async () => {
    await attempt('umount', ['--lazy', path]);
    child.kill('SIGKILL');
    await ended;
    await attempt('umount', ['--lazy', path]);
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const line: IteratorResult<string> = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  if (line.done === true) throw new Error(`disktool expose ended before it showed anything: ${said}`);
  const stop = async () => {
    child.kill('SIGTERM');
    const [status] = await ended;
    if (status !== 0) throw new Error(`disktool expose exited with status ${status}: ${said}`);
  };
  return { pid, line: line.value, said: () => said, ended, kill: (signal) => void child.kill(signal), stop };
}

/** What tests of FUSE mounts by root need. */
export const fuseNeeds = { root: true, devices: ['/dev/fuse'] } as const;
