import { compiledFile } from '../host/compiled.js';
import { type Guard, startGuard } from '../host/freeze-guard-client.js';
import type { HookTask } from '../host/freeze-hooks.js';
import type { AgentAddress } from './agent.js';
import { isAddress } from './agent-record.js';
import { parseObject } from './json.js';

/** The one argument of the guard of a guest. */
export interface AgentTask {
  readonly address: AgentAddress;
  /** In the guest; undefined: all that it has. */
  readonly mountPoints?: readonly string[] | undefined;
  /** Milliseconds; 0: never. */
  readonly timeout: number;
  readonly hooks?: HookTask | undefined;
}

/**
 * Freezes a guest under a guard of its own.
 *
 * @throws {DiskError} as freezing it does; CANCELLED
 */
export function freezeGuestUnderGuard(task: AgentTask, signal?: AbortSignal): Promise<Guard> {
  return startGuard(compiledFile(import.meta.url, 'agent-guard.js'), task, signal);
}

export function parseAgentTask(text: string): AgentTask {
  const value = parseObject(text);
  if (value === undefined || !isAddress(value.address) || typeof value.timeout !== 'number') {
    throw new TypeError('the guard was given no task');
  }
  // The rest is as whoever started it, a file of this same package, has written it.
  const { address, timeout } = value;
  const rest = value as Pick<AgentTask, 'mountPoints' | 'hooks'>;
  return { address, timeout, mountPoints: rest.mountPoints, hooks: rest.hooks };
}
