import { setTimeout as sleep } from 'node:timers/promises';
import { DiskError, hasCode } from '../error/disk-error.js';
import { type Agent, type AgentAddress, agentName, mountsOf, protocolError } from './agent.js';
import { DomainAgent } from './domain-agent.js';
import type { JsonObject } from './json.js';
import { SocketAgent } from './socket-agent.js';

/** Milliseconds: for what the agent answers at once; for writing out a guest's memory; for getting it to thaw at last. */
export const patience = { answer: 5000, freeze: 120_000, thaw: 60_000 } as const;

/** Milliseconds between attempts to reach an agent that is gone. */
const interval = 250;

export interface FrozenGuest {
  /** The mount points that were asked for; empty: all that the guest has. */
  readonly mountPoints: readonly string[];
  /** Of filesystems, as the agent counts them. */
  readonly count: number;
}

/** @throws {DiskError} as {@link SocketAgent.connect} and {@link DomainAgent}; and when it does not answer */
export async function openAgent(address: AgentAddress, signal?: AbortSignal): Promise<Agent> {
  const agent = address.kind === 'socket' ? await SocketAgent.connect(address.path) : new DomainAgent(address.name);
  try {
    await agent.execute('guest-ping', undefined, { patience: patience.answer, signal });
    return agent;
  } catch (error) {
    agent.close();
    throw error;
  }
}

/** guest-fsfreeze-status: what the agent itself has frozen; what others in the guest have it does not know. */
export async function isGuestFrozen(agent: Agent, signal?: AbortSignal): Promise<boolean> {
  const status = await agent.execute('guest-fsfreeze-status', undefined, { patience: patience.answer, signal });
  if (status === 'frozen') return true;
  if (status === 'thawed') return false;
  throw protocolError(agent.name, `guest-fsfreeze-status: ${JSON.stringify(status)}`);
}

/**
 * Freezes a guest's filesystems through its agent. Nothing has been frozen when it rejects before `began` is called;
 * after that nobody knows until the agent is asked.
 *
 * @param mountPoints in the guest; undefined: all
 * @throws {DiskError} BUSY frozen already; NOT_FOUND the guest has no such mount point; UNSUPPORTED; and as
 * {@link Agent.execute}
 */
export async function freezeGuest(
  agent: Agent,
  mountPoints: readonly string[] | undefined,
  began: () => void,
  signal?: AbortSignal,
): Promise<FrozenGuest> {
  if (await isGuestFrozen(agent, signal)) {
    throw new DiskError('BUSY', `${agent.name}: says that the guest is frozen already`, { device: agent.name });
  }
  const filesystems = mountPoints === undefined ? 1 : await countFilesystems(agent, mountPoints, signal);
  began();
  const [command, args]: [string, JsonObject | undefined] =
    mountPoints === undefined
      ? ['guest-fsfreeze-freeze', undefined]
      : ['guest-fsfreeze-freeze-list', { mountpoints: mountPoints }];
  const count = countOf(agent, command, await agent.execute(command, args, { patience: patience.freeze, signal }));
  // The agent passes over what it cannot freeze.
  if (count >= filesystems) return { mountPoints: mountPoints ?? [], count };
  throw new DiskError(
    'UNSUPPORTED',
    `${agent.name}: froze ${count} of ${filesystems} filesystems: the kind of the others cannot be frozen, or somebody in the guest has`,
    { device: agent.name },
  );
}

/**
 * How many filesystems the mount points are of. The agent itself ignores names that the guest does not have
 * (guest-fsfreeze-freeze-list).
 */
async function countFilesystems(
  agent: Agent,
  mountPoints: readonly string[],
  signal: AbortSignal | undefined,
): Promise<number> {
  const answer = await agent.execute('guest-get-fsinfo', undefined, { patience: patience.answer, signal });
  const found = mountsOf(agent.name, answer);
  const devices = mountPoints.map((path) => {
    const mount = found.find(({ mountPoint }) => mountPoint === path);
    if (mount !== undefined) return mount.device;
    const names = found.map(({ mountPoint }) => mountPoint).join(', ');
    throw new DiskError('NOT_FOUND', `${agent.name}: the guest has no mount point ${path}: it has ${names || 'none'}`, {
      device: agent.name,
    });
  });
  return new Set(devices).size;
}

/**
 * Thaws whatever the agent has frozen. An agent that is gone, or busy with something else, is tried again for a while.
 *
 * @param agent that froze, if it still is there; it is closed
 * @returns how many filesystems the agent has thawed by this
 * @throws {DiskError} what the last attempt met
 */
export async function thawGuest(address: AgentAddress, agent?: Agent): Promise<number> {
  const deadline = performance.now() + patience.thaw;
  for (let given = agent; ; given = undefined) {
    let reached = given;
    try {
      reached ??= await openAgent(address);
      const answer = await reached.execute('guest-fsfreeze-thaw', undefined, { patience: patience.answer });
      return countOf(reached, 'guest-fsfreeze-thaw', answer);
    } catch (error) {
      // That is its last word.
      if (hasCode(error, 'UNSUPPORTED')) throw error;
      if (reached !== undefined && (await saysThawed(reached))) return 0;
      if (performance.now() > deadline) throw error;
      await sleep(interval);
    } finally {
      // One client at a time: the next attempt has a connection of its own.
      reached?.close();
    }
  }
}

async function saysThawed(agent: Agent): Promise<boolean> {
  try {
    return !(await isGuestFrozen(agent));
  } catch {
    return false;
  }
}

function countOf(agent: Agent, command: string, answer: unknown): number {
  if (typeof answer === 'number' && Number.isSafeInteger(answer) && answer >= 0) return answer;
  throw protocolError(agent.name, `${command}: ${JSON.stringify(answer)} is no number of filesystems`);
}

/** What the guest is called where something could not be thawed. */
export function guestOf(address: AgentAddress): string {
  return `the guest behind the ${agentName(address)}`;
}
