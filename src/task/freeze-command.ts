import { DiskError } from '../error/disk-error.js';
import { type Command, requireProgram, startCommand } from '../host/process.js';
import { endCommand, signalOf, statusOf } from './command-end.js';
import type { TaskContext } from './context.js';
import type { Held } from './held.js';
import { refuseStuck, refuseThawedElsewhere, whileFrozen } from './while-frozen.js';

/** How a command ended that ran while filesystems were frozen. */
export interface CommandResult {
  /** Its own; 128 + n when signal n ended it; 124 when the time was up first. */
  readonly status: number;
  readonly timedOut: boolean;
  /** Milliseconds for which writers stood still. */
  readonly frozenFor: number;
}

const timedOutStatus = 124;

/**
 * Freezes, runs a command, and thaws whatever happens.
 *
 * @param hold freezes
 * @throws {DiskError} as {@link freeze}
 */
export async function runFrozen(
  hold: () => Promise<Held>,
  command: readonly string[],
  context: TaskContext,
): Promise<CommandResult & { readonly frozen: readonly string[] }> {
  requireProgram(command[0] ?? '', 'nothing was frozen');
  const held = await hold();
  const frozen = held.guard.names;
  let child: Command | undefined;
  const start = () => {
    child = startCommand(command);
    return child.ended;
  };
  const { outcome, timedOut, frozenFor, thawed } = await whileFrozen(held, start, context);
  if (child !== undefined && (timedOut || outcome === 'aborted')) {
    await endCommand(child, outcome === 'aborted' ? signalOf(context.signal) : 'SIGTERM');
  }
  refuseStuck(thawed);
  if (timedOut) return { frozen, status: timedOutStatus, timedOut, frozenFor };
  if (child === undefined || outcome === 'aborted') throw DiskError.cancelled(context.signal);
  const ended = await child.ended;
  refuseThawedElsewhere(thawed, 'the command ended, so what it saw');
  return { frozen, status: statusOf(ended), timedOut, frozenFor };
}
