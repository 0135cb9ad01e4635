import type { Guard, GuardEnd } from '../host/freeze-guard-client.js';
import { monotonic } from '../host/freeze-guard-protocol.js';
import type { HookTask } from '../host/freeze-hooks.js';
import type { AgentAddress } from '../machine/agent.js';
import { freezeGuestUnderGuard } from '../machine/agent-guard-task.js';
import { pruneAgentRecords, removeAgentRecord, settleAddress } from '../machine/agent-record.js';
import { guestOf, thawGuest } from '../machine/guest-freeze.js';
import type { Held, Thawed } from './held.js';

export interface HoldGuestOptions {
  /** In the guest; none: all that it has. */
  readonly mountPoints: readonly string[];
  /** Milliseconds after which it is thawed by itself; 0: never. */
  readonly timeout: number;
  /** On this machine; those of the guest its agent calls by itself. */
  readonly hooks?: HookTask | undefined;
}

/**
 * Freezes filesystems of a guest through its agent, under a guard: all that are named, or none.
 *
 * @throws {DiskError} as {@link freezeGuestUnderGuard}
 */
export async function holdGuest(
  agent: AgentAddress,
  { mountPoints, timeout, hooks }: HoldGuestOptions,
  signal?: AbortSignal,
): Promise<Held> {
  pruneAgentRecords();
  const address = settleAddress(agent);
  const named = mountPoints.length === 0 ? undefined : mountPoints;
  const guard = await freezeGuestUnderGuard({ address, mountPoints: named, timeout, hooks }, signal);
  let endedBefore: GuardEnd | undefined;
  void guard.ended.then((end) => {
    endedBefore ??= end;
  });
  return { guard, timeout, thaw: () => thaw(address, guard, endedBefore) };
}

/** @param before how the guard ended, if it has without having been asked by us */
async function thaw(address: AgentAddress, guard: Guard, before: GuardEnd | undefined): Promise<Thawed> {
  const end = before ?? (await guard.thaw());
  const at = end.at ?? monotonic();
  if (end.why === 'gone') return { end, ...(await thawWithoutGuard(address)) };
  const elsewhere = before === undefined || before.why === 'timeout' ? end.elsewhere : [guestOf(address)];
  // Whoever asked the guard reads there what came of it.
  if (end.stuck.length === 0 && end.why !== 'elsewhere') removeAgentRecord(address);
  return { at, end, stuck: end.stuck, elsewhere };
}

/** The guard was killed, so that its connection is free again. */
async function thawWithoutGuard(address: AgentAddress): Promise<Omit<Thawed, 'end'>> {
  try {
    const count = await thawGuest(address);
    removeAgentRecord(address);
    return { at: monotonic(), stuck: [], elsewhere: count === 0 ? [guestOf(address)] : [] };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return {
      at: monotonic(),
      stuck: [`${guestOf(address)} was left frozen, as far as is known (${words})`],
      elsewhere: [],
    };
  }
}
