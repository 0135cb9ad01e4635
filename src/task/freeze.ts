import { freezeUnderGuard } from '../host/freeze-guard-client.js';
import { pruneRecords } from '../host/freeze-record.js';
import { readMounts } from '../host/mounts.js';
import type { TaskContext } from './context.js';
import { type CommandResult, runFrozen } from './freeze-command.js';
import { planFreeze } from './freeze-plan.js';

export interface FreezeOptions {
  readonly mountPoints: readonly string[];
  /** Milliseconds after which it thaws by itself; 0: never. */
  readonly timeout: number;
  /** Also the root filesystem, or one that this program needs itself. */
  readonly force?: boolean | undefined;
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
 * `still-frozen` when something could not be thawed; CANCELLED
 */
export async function freeze(options: FreezeOptions, context: TaskContext = {}): Promise<FreezeResult> {
  const { timeout, command } = options;
  const mounts = planFreeze(options.mountPoints, options.force === true);
  pruneRecords(readMounts());
  const frozen = mounts.map(({ mountPoint }) => mountPoint);
  const task = {
    mounts: mounts.map(({ id, device, mountPoint }) => ({ id, device, mountPoint })),
    timeout,
  };
  if (command !== undefined) {
    const result = await runFrozen(task, command, context);
    return { frozen, timeout, command: result };
  }
  const guard = await freezeUnderGuard(task, context.signal);
  await guard.release();
  return { frozen, timeout };
}
