import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { disktoolPath } from './run.js';
import { temporaryFolder } from './temporary.js';

/** A `disktool serve` that runs. */
export interface Served {
  readonly pid: number;
  readonly uri: string;
  readonly socketPath: string;
  /** As a user ends it: SIGTERM. Fails when it does not exit with status 0. */
  stop(): Promise<void>;
}

/** Starts `disktool serve` on a unix socket, as a user does, until the test ends. */
export async function served(args: readonly string[]): Promise<Served> {
  const socketPath = join(await temporaryFolder(), 'socket');
  const child = spawn(process.execPath, [disktoolPath, 'serve', ...args, '--socket', socketPath], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  const { pid } = child;
  if (pid === undefined) throw new Error('disktool did not start');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  // Only clients that connect after this line find somebody.
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const { done } = await lines.next();
  if (done === true) throw new Error('disktool serve ended before it served');
  const stop = async () => {
    child.kill('SIGTERM');
    const [status] = await ended;
    if (status !== 0) throw new Error(`disktool serve exited with status ${status}`);
  };
  return { pid, uri: `nbd+unix:///?socket=${socketPath}`, socketPath, stop };
}
