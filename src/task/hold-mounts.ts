import { thawMount } from '../host/freeze.js';
import { freezeUnderGuard, type Guard } from '../host/freeze-guard-client.js';
import { type GuardTask, monotonic } from '../host/freeze-guard-protocol.js';
import type { HookTask } from '../host/freeze-hooks.js';
import { pruneRecords, removeRecord } from '../host/freeze-record.js';
import { type Mount, readMounts } from '../host/mounts.js';
import type { Held, Thawed } from './held.js';

export interface HoldOptions {
  /** Milliseconds after which they are thawed by themselves; 0: never. */
  readonly timeout: number;
  readonly hooks?: HookTask | undefined;
  /** Those are left out whose kind of filesystem cannot be frozen. */
  readonly optional?: boolean | undefined;
}

/**
 * Freezes mounts under a guard, in the order given: all of them, or none.
 *
 * @throws {DiskError} as {@link freezeUnderGuard}
 */
export async function holdMounts(
  mounts: readonly Mount[],
  { timeout, hooks, optional }: HoldOptions,
  signal?: AbortSignal,
): Promise<Held> {
  pruneRecords(readMounts());
  const guarded = mounts.map(({ id, device, mountPoint }) => ({ id, device, mountPoint, optional }));
  const guard = await freezeUnderGuard({ mounts: guarded, timeout, hooks }, signal);
  const frozen = guarded.filter(({ mountPoint }) => guard.names.includes(mountPoint));
  return { guard, timeout, thaw: () => thawAll(frozen, guard) };
}

async function thawAll(mounts: GuardTask['mounts'], guard: Guard): Promise<Thawed> {
  const elsewhere: string[] = [];
  const failed: string[] = [];
  for (const { mountPoint } of mounts.toReversed()) {
    try {
      if (!(await thawMount(mountPoint))) elsewhere.push(mountPoint);
    } catch (error) {
      failed.push(error instanceof Error ? error.message : String(error));
    }
  }
  const now = monotonic();
  // What fsfreeze could not do the guard still may, by the system call.
  const end = failed.length > 0 ? await guard.thaw() : await guard.standDown();
  const stuck = failed.length === 0 ? [] : end.why === 'gone' ? failed : end.stuck;
  // Where the guard came first.
  const at = Math.min(now, end.at ?? now);
  // Nobody else has to be told what became of it.
  if (stuck.length === 0) for (const { device } of mounts) removeRecord(device);
  // At its timeout the guard came first: that is told by how it ended.
  return { at, end, stuck, elsewhere: end.why === 'timeout' ? [] : elsewhere };
}
