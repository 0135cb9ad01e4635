import { DiskError } from '../error/disk-error.js';
import { stillFrozen } from '../host/freeze-guard-client.js';
import { isAlive, recordFolder } from '../host/freeze-record.js';
import { type AgentAddress, agentName } from '../machine/agent.js';
import {
  type AgentRecord,
  allAgentRecords,
  findAgentRecord,
  pruneAgentRecords,
  removeAgentRecord,
  settleAddress,
  writeAgentRecord,
} from '../machine/agent-record.js';
import { thawGuest as thawAgent } from '../machine/guest-freeze.js';
import type { TaskContext } from './context.js';
import type { ThawResult } from './thaw.js';
import { thaw } from './thaw.js';
import { notOurs, thawedBefore, throwAll, wakeGuard } from './thaw-reasons.js';

export interface ThawGuestOptions {
  readonly agent: AgentAddress;
  /** Also what somebody else has frozen. */
  readonly force?: boolean | undefined;
}

/**
 * Thaws a guest that was frozen through its agent: by its guard, which has the connection, or where there is none any
 * more by one of our own. The agent knows only of all that it has frozen.
 *
 * @throws {DiskError} UNSAFE, with the reason `thawed` or `not-ours`; IO, with the reason `still-frozen`
 */
export async function thawGuest(
  { agent, force = false }: ThawGuestOptions,
  { onWarning }: TaskContext = {},
): Promise<ThawResult> {
  const address = settleAddress(agent);
  const name = agentName(address);
  const record = findAgentRecord(address);
  if (record === undefined && !force && recordFolder() !== undefined) {
    throw notOurs(name, 'freeze --status --agent');
  }
  if (record?.thawed !== undefined) {
    removeAgentRecord(address);
    throw thawedBefore(name, record.thawed);
  }
  const guarded = record !== undefined && isAlive(record.guard) ? await byGuard(record) : undefined;
  const { stuck = [], elsewhere = [], complaints = [] } = guarded ?? (await byOurselves(address, record));
  for (const complaint of complaints) onWarning?.(complaint);
  if (stuck.length > 0) throw stillFrozen(stuck);
  removeAgentRecord(address);
  if (elsewhere.length > 0) throw thawedBefore(name, undefined);
  return { thawed: [name] };
}

/** @returns undefined when the guard was killed before it had done anything */
async function byGuard(record: AgentRecord): Promise<AgentRecord['thawed']> {
  writeAgentRecord({ ...record, asked: true });
  await wakeGuard(record.guard, true);
  return findAgentRecord(record.address)?.thawed;
}

async function byOurselves(
  address: AgentAddress,
  record: AgentRecord | undefined,
): Promise<NonNullable<Pick<NonNullable<AgentRecord['thawed']>, 'stuck' | 'elsewhere' | 'complaints'>>> {
  const count = await thawAgent(address);
  return count === 0 || (record !== undefined && count < record.count) ? { elsewhere: [agentName(address)] } : {};
}

/**
 * Thaws all that disktool has frozen, on this machine and in guests, and nothing else.
 *
 * @throws {DiskError} UNSAFE, with the reason `thawed`, when that is nothing; and as {@link thaw} and {@link thawGuest}
 */
export async function thawAll(context: TaskContext = {}): Promise<ThawResult> {
  pruneAgentRecords();
  const thawed: string[] = [];
  const failures: unknown[] = [];
  const guests = allAgentRecords().map(
    ({ address: agent }) =>
      () =>
        thawGuest({ agent }, context),
  );
  for (const attempt of [() => thaw({ mountPoints: 'recorded' }, context), ...guests]) {
    try {
      thawed.push(...(await attempt()).thawed);
    } catch (error) {
      failures.push(error);
    }
  }
  throwAll(failures);
  if (thawed.length > 0) return { thawed };
  throw new DiskError('UNSAFE', 'nothing is frozen by disktool, or it has been thawed by another thaw', {
    reason: 'thawed',
  });
}
