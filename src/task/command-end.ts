import { constants } from 'node:os';
import type { Command, Ended } from '../host/process.js';

/** Milliseconds between asking a command to end and killing it. */
const grace = 10_000;

/** Ends a command: asked first, killed when it does not listen. */
export async function endCommand(command: Command, signal: NodeJS.Signals): Promise<void> {
  command.send(signal);
  const killing = setTimeout(() => command.send('SIGKILL'), grace);
  await command.ended.catch(() => undefined);
  clearTimeout(killing);
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
