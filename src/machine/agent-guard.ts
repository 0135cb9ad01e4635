import { startTimeOf, type ThawReason } from '../host/freeze-record.js';
import { type GuardWork, runGuard, type ThawedWork } from '../host/guard-run.js';
import type { Agent } from './agent.js';
import { parseAgentTask } from './agent-guard-task.js';
import { findAgentRecord, removeAgentRecord, type ThawedGuest, writeAgentRecord } from './agent-record.js';
import { type FrozenGuest, freezeGuest, guestOf, openAgent, thawGuest } from './guest-freeze.js';

/**
 * A program of its own: the guard of a guest that is frozen through its agent. QEMU's channel takes one client at a time,
 * so the guard has the connection from before the freeze until after the thaw, and whoever wants something asks the guard.
 */
const { address, mountPoints, timeout, hooks } = parseAgentTask(process.argv[2] ?? '');
const guard = { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };

class GuestWork implements GuardWork {
  #agent: Agent | undefined;
  /** Whether the agent was told to freeze, and nobody has told it to thaw since. */
  #mayBeFrozen = false;
  #frozen: FrozenGuest | undefined;
  #freezing = false;
  #frozenAt = 0;

  async freeze(stop: AbortSignal, began: () => void): Promise<readonly string[]> {
    this.#freezing = true;
    try {
      this.#agent = await openAgent(address, stop);
      const begin = () => {
        began();
        this.#begin();
      };
      this.#frozen = await freezeGuest(this.#agent, mountPoints, begin, stop);
      this.#keepRecord();
      return mountPoints ?? [this.#agent.name];
    } finally {
      this.#freezing = false;
    }
  }

  #begin(): void {
    this.#mayBeFrozen = true;
    this.#frozenAt = Date.now();
    this.#keepRecord();
  }

  async thaw(why: ThawReason | 'asked'): Promise<ThawedWork> {
    // Whoever waits for the freeze thaws after it.
    if (!this.#mayBeFrozen || this.#freezing) return { stuck: [], elsewhere: [] };
    this.#mayBeFrozen = false;
    const thawed = await this.#thaw();
    if (why === 'asked' && thawed.stuck.length === 0) removeAgentRecord(address);
    else if (thawed.stuck.length === 0) this.#keepRecord({ why, elsewhere: thawed.elsewhere });
    return thawed;
  }

  async #thaw(): Promise<ThawedWork> {
    const before = this.#frozen?.count ?? 0;
    try {
      const count = await thawGuest(address, this.#agent);
      const left = this.#frozen === undefined ? `${guestOf(address)} was asked again, and is thawed now` : undefined;
      return { stuck: [], elsewhere: count < before ? [guestOf(address)] : [], left };
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      return { stuck: [`${guestOf(address)} was left frozen, as far as is known (${words})`], elsewhere: [] };
    }
  }

  forget(): void {
    this.#mayBeFrozen = false;
    removeAgentRecord(address);
  }

  look(): 'go-on' | 'thaw' {
    return findAgentRecord(address)?.asked === true ? 'thaw' : 'go-on';
  }

  note(thawed: ThawedWork & { readonly complaints: readonly string[] }): void {
    const { stuck, elsewhere, complaints } = thawed;
    this.#keepRecord({ why: 'asked', stuck, elsewhere, complaints });
  }

  close(): void {
    this.#agent?.close();
  }

  #keepRecord(thawed?: Omit<ThawedGuest, 'at'>): void {
    const record = { address, guard, timeout, count: this.#frozen?.count ?? 0, frozenAt: this.#frozenAt };
    try {
      writeAgentRecord(thawed === undefined ? record : { ...record, thawed: { ...thawed, at: Date.now() } });
    } catch (error) {
      // Without it nobody but this process could thaw, which it does.
      if (thawed === undefined && timeout === 0) throw error;
    }
  }
}

await runGuard(new GuestWork(), { timeout, hooks });
