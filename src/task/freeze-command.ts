import { DiskError } from '../error/disk-error.js';
import { thawMount } from '../host/freeze.js';
import { freezeUnderGuard, type Guard, type GuardEnd, stillFrozen } from '../host/freeze-guard-client.js';
import type { GuardTask } from '../host/freeze-guard-protocol.js';
import { removeRecord } from '../host/freeze-record.js';
import { type Command, requireProgram, startCommand } from '../host/process.js';
import { endCommand, signalOf, statusOf } from './command-end.js';
import type { TaskContext } from './context.js';

/** How a command ended that ran while filesystems were frozen. */
export interface CommandResult {
  /** Its own; 128 + n when signal n ended it; 124 when the time was up first. */
  readonly status: number;
  readonly timedOut: boolean;
  /** Milliseconds for which writers stood still. */
  readonly frozenFor: number;
}

const timedOutStatus = 124;

/** Why the wait for a command is over. */
type Outcome = 'ended' | 'timeout' | 'aborted' | 'thawed';

/**
 * Freezes, runs a command, and thaws whatever happens. Thawing always comes before any killing: a process that writes to
 * a frozen filesystem cannot be killed.
 *
 * @throws {DiskError} as {@link freeze}
 */
export async function runFrozen(
  task: GuardTask,
  command: readonly string[],
  context: TaskContext,
): Promise<CommandResult> {
  requireProgram(command[0] ?? '', 'nothing was frozen');
  const guard = await freezeUnderGuard(task, context.signal);
  const began = performance.now();
  let child: Command | undefined;
  let outcome: Outcome = 'ended';
  let thawed: Thawed;
  try {
    child = startCommand(command);
    outcome = await wait(child, guard, task.timeout, context);
  } finally {
    thawed = await thawAll(task, guard);
    // Nobody else has to be told what became of it.
    if (thawed.stuck.length === 0) for (const { device } of task.mounts) removeRecord(device);
  }
  const frozenFor = Math.round(performance.now() - began);
  const timedOut = outcome === 'timeout' || thawed.end.why === 'timeout';
  if (timedOut || outcome === 'aborted') {
    await endCommand(child, outcome === 'aborted' ? signalOf(context.signal) : 'SIGTERM');
  }
  if (thawed.stuck.length > 0) throw stillFrozen(thawed.stuck);
  if (timedOut) return { status: timedOutStatus, timedOut, frozenFor };
  if (outcome === 'aborted') throw DiskError.cancelled(context.signal);
  const ended = await child.ended;
  if (thawed.elsewhere.length > 0) {
    throw new DiskError(
      'UNSAFE',
      `${thawed.elsewhere.join(', ')}: thawed by somebody else before the command ended, so what it saw is not consistent`,
      { reason: 'thawed' },
    );
  }
  return { status: statusOf(ended), timedOut, frozenFor };
}

/** Waits for the end of the command, of the time, or of our own. */
async function wait(
  child: Command,
  guard: Guard,
  timeout: number,
  { signal, onWarning }: TaskContext,
): Promise<Outcome> {
  const finish = new AbortController();
  // A command that could not be started has ended too: its error comes out when its status is asked for.
  const commandEnded = child.ended.then(
    (): Outcome => 'ended',
    (): Outcome => 'ended',
  );
  const aborted = new Promise<Outcome>((resolve) => {
    if (signal?.aborted) resolve('aborted');
    signal?.addEventListener('abort', () => resolve('aborted'), { once: true, signal: finish.signal });
  });
  const deadline = performance.now() + timeout;
  try {
    const first = await Promise.race([commandEnded, aborted, guard.ended]);
    if (typeof first === 'string') return first;
    if (first.why !== 'gone') return first.why === 'timeout' ? 'timeout' : 'thawed';
    onWarning?.('the guard that was to thaw was killed: from here on only this process thaws');
    const others =
      timeout === 0 ? [] : [sleep(deadline - performance.now(), finish.signal).then((): Outcome => 'timeout')];
    return await Promise.race([commandEnded, aborted, ...others]);
  } finally {
    finish.abort();
  }
}

interface Thawed {
  /** How the guard ended. */
  readonly end: GuardEnd;
  /** What could not be thawed, and why. */
  readonly stuck: readonly string[];
  /** What was not frozen any more, and not by its guard's doing. */
  readonly elsewhere: readonly string[];
}

async function thawAll({ mounts }: GuardTask, guard: Guard): Promise<Thawed> {
  const elsewhere: string[] = [];
  const failed: string[] = [];
  for (const { mountPoint } of mounts.toReversed()) {
    try {
      if (!(await thawMount(mountPoint))) elsewhere.push(mountPoint);
    } catch (error) {
      failed.push(error instanceof Error ? error.message : String(error));
    }
  }
  // What fsfreeze could not do the guard still may, by the system call.
  if (failed.length > 0) {
    const end = await guard.thaw();
    return { end, stuck: end.why === 'gone' ? failed : end.stuck, elsewhere };
  }
  await guard.standDown();
  const end = await guard.ended;
  // At its timeout the guard came first: that is told by how it ended.
  return { end, stuck: [], elsewhere: end.why === 'timeout' ? [] : elsewhere };
}

function sleep(time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, time));
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
}
