import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command, Ended } from '../host/process.js';
import type { Running, Shell } from '../host/shell.js';

/** Milliseconds between asking a command to end and killing it. */
const grace = 10_000;

/** Ends a command: asked first, killed when it does not listen. */
export async function endCommand(command: Command, signal: NodeJS.Signals): Promise<void> {
  command.send(signal);
  const killing = setTimeout(() => command.send('SIGKILL'), grace);
  await command.ended.catch(() => undefined);
  clearTimeout(killing);
}

/** Milliseconds within which what was killed is gone, unless it is not ours to kill. */
const killed = 1000;

/** Milliseconds between looks at who still runs. */
const interval = 50;

/**
 * Ends a shell command and all that it has started, likewise, and waits until they are gone. Who was started while they
 * were asked was not: it is waited for, and killed with those who do not listen.
 *
 * @returns who could not be ended: another user's processes
 */
export async function endShell(shell: Shell, signal: NodeJS.Signals): Promise<readonly Running[]> {
  shell.send(signal);
  const deadline = performance.now() + grace;
  while (shell.running().length > 0 && performance.now() < deadline) await sleep(interval);
  // Again and again, since who is not dead yet may start others.
  while (shell.running().length > 0 && performance.now() < deadline + killed) {
    shell.send('SIGKILL');
    await sleep(interval);
  }
  return shell.running();
}

/** The exit status that tells how a command ended: 128 + n for signal n. */
export function statusOf({ status, signal }: Ended): number {
  return status ?? 128 + (signal === undefined ? 0 : constants.signals[signal]);
}

/** The signal that stopped us, to be passed on. */
export function signalOf(signal: AbortSignal | undefined): NodeJS.Signals {
  const reason: unknown = signal?.reason;
  const name = reason instanceof Error ? reason.message : '';
  return name === 'SIGINT' || name === 'SIGHUP' ? name : 'SIGTERM';
}
