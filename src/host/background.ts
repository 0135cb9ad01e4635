import { closeSync, openSync, writeSync } from 'node:fs';
import { call } from './libc.js';

/** A process that goes on when who started it has ended, which it does once the process is ready. */

/** Set for the process that is to go on. */
const variable = 'DISKTOOL_IN_BACKGROUND';
/** The descriptor by which it says that it is ready. */
const readyFd = 3;

/** Whether this is the process that is to go on. Asked once: those that it starts must not take it for theirs. */
export function takeBackground(): boolean {
  const set = process.env[variable] === '1';
  delete process.env[variable];
  return set;
}

/** Says that all is well, and lets go of what we were started with: nobody reads or sees it any more. */
export function leaveForeground(): void {
  writeSync(readyFd, 'ready');
  closeSync(readyFd);
  const nowhere = openSync('/dev/null', 'r+');
  for (const standard of [0, 1, 2]) call('dup2', `of descriptor ${standard}`, nowhere, standard);
  closeSync(nowhere);
}

/**
 * Starts this program again, in a session of its own, on our standard output and error until it is ready.
 *
 * @returns undefined once it is ready; its exit status when it has ended before
 */
export async function continueInBackground(signal: AbortSignal | undefined): Promise<number | undefined> {
  const { execa } = await import('execa');
  const child = execa(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    env: { [variable]: '1' },
    detached: true,
    cleanup: false,
    buffer: false,
    reject: false,
  });
  const stop = () => child.kill('SIGTERM');
  signal?.addEventListener('abort', stop, { once: true });
  const said = child.stdio[readyFd];
  const ready = new Promise<undefined>((resolve) => said.once('data', () => resolve(undefined)));
  const ended = child.then(({ exitCode }) => exitCode ?? 1);
  const status = await Promise.race([ready, ended]);
  signal?.removeEventListener('abort', stop);
  child.unref();
  said.destroy();
  return status;
}
