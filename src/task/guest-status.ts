import { isAlive } from '../host/freeze-record.js';
import { type AgentAddress, agentName } from '../machine/agent.js';
import { findAgentRecord, settleAddress } from '../machine/agent-record.js';
import { isGuestFrozen, openAgent } from '../machine/guest-freeze.js';
import type { TaskContext } from './context.js';
import type { FreezeStatus } from './freeze-status.js';

/**
 * Says whether a guest's agent has frozen it. While a guard has the connection, its record tells.
 *
 * @throws {DiskError} as {@link openAgent} when the agent has to be asked, and cannot be
 */
export async function guestStatus(agent: AgentAddress, { signal }: TaskContext = {}): Promise<FreezeStatus> {
  const address = settleAddress(agent);
  const mountPoint = agentName(address);
  const record = findAgentRecord(address);
  const ours = record !== undefined && record.thawed === undefined;
  if (ours && isAlive(record.guard)) {
    const { frozenAt: since, timeout } = record;
    const until = timeout > 0 ? since + timeout : undefined;
    return { mounts: [{ mountPoint, state: 'frozen', by: 'disktool', since, until }] };
  }
  const reached = await openAgent(address, signal);
  try {
    const frozen = await isGuestFrozen(reached, signal);
    const by = frozen ? (ours ? 'disktool' : 'somebody-else') : undefined;
    return { mounts: [{ mountPoint, state: frozen ? 'frozen' : 'thawed', by }] };
  } finally {
    reached.close();
  }
}
