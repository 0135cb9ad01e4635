import { spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { onTestFinished } from 'vitest';

/**
 * Starts a program that has a file open, waits until it has, and ends it with the test.
 *
 * @returns its process id, and how to end it before
 */
export async function hold(
  program: string,
  args: readonly string[],
  ready: () => boolean | Promise<boolean>,
): Promise<{ pid: number; end: () => Promise<void> }> {
  // Programs that read commands hold on for as long as their standard input is open.
  const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const end = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  onTestFinished(end);
  for (let tries = 0; !(await ready()); tries++) {
    if (tries > 500 || child.exitCode !== null) throw new Error(`${program} did not start`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { pid: child.pid ?? -1, end };
}

/** True once /proc/locks shows a lock on the file. */
export function isLocked(path: string): boolean {
  return readFileSync('/proc/locks', 'utf8').includes(`:${statSync(path).ino} `);
}
