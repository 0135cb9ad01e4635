import type { HookTask } from '../host/freeze-hooks.js';
import type { AgentAddress } from '../machine/agent.js';
import type { TaskContext } from './context.js';
import { type CommandResult, runFrozen } from './freeze-command.js';
import { planAll, planFreeze } from './freeze-plan.js';
import type { Held } from './held.js';
import { holdMounts } from './hold-mounts.js';

export interface FreezeOptions {
  /** Mount points; `all`: of every filesystem that can be frozen, but the root. */
  readonly mountPoints: readonly string[] | 'all';
  /** In this guest, not on this machine. */
  readonly agent?: AgentAddress | undefined;
  /** Milliseconds after which it thaws by itself; 0: never. */
  readonly timeout: number;
  /** Also the root filesystem where it is named, or one that this program needs itself. */
  readonly force?: boolean | undefined;
  /** Called before and after. */
  readonly hooks?: HookTask | undefined;
  /** Run while it is frozen; it is thawed when this has ended. */
  readonly command?: readonly string[] | undefined;
}

export interface FreezeResult {
  /** Mount points in the order in which they were frozen. */
  readonly frozen: readonly string[];
  /** Milliseconds; 0: never. */
  readonly timeout: number;
  /** Only where there was a command: then everything is thawed again. */
  readonly command?: CommandResult | undefined;
}

/**
 * Freezes mounted filesystems: what was written is on their disks, and whoever writes waits. A guard thaws them when the
 * time is up, whatever has become of us; with a command, also as soon as we are gone.
 *
 * @throws {DiskError} NOT_FOUND no mount point, no such command; BUSY; UNSUPPORTED; UNSAFE; IO, with the reason
 * `still-frozen` when something could not be thawed, `hook` when a hook failed; CANCELLED
 */
export async function freeze(options: FreezeOptions, context: TaskContext = {}): Promise<FreezeResult> {
  const { mountPoints, timeout, hooks, force = false, agent } = options;
  if (agent !== undefined) {
    const named = mountPoints === 'all' ? [] : mountPoints;
    // The machines' side is loaded for those who need it alone.
    const { holdGuest } = await import('./hold-guest.js');
    const hold = () => holdGuest(agent, { mountPoints: named, timeout, hooks }, context.signal);
    return await freezeOrRun(hold, options, context);
  }
  const all = mountPoints === 'all';
  const mounts = all ? planAll(force) : planFreeze(mountPoints, force);
  const hold = () => holdMounts(mounts, { timeout, hooks, optional: all }, context.signal);
  return await freezeOrRun(hold, options, context);
}

/** Leaves it frozen under its guard, or runs the command meanwhile. */
async function freezeOrRun(
  hold: () => Promise<Held>,
  { command, timeout }: Pick<FreezeOptions, 'command' | 'timeout'>,
  context: TaskContext,
): Promise<FreezeResult> {
  if (command !== undefined) {
    const { frozen, ...result } = await runFrozen(hold, command, context);
    return { frozen, timeout, command: result };
  }
  const { guard } = await hold();
  await guard.release();
  return { frozen: guard.names, timeout };
}
