import { closeSync, constants, openSync } from 'node:fs';
import { DiskError, hasCode } from '../error/disk-error.js';
import { wrapSystemError } from './errno.js';
import { freezeMount, lockMemory, rehearseThaw, thawDescriptor, unlockMemory } from './freeze.js';
import { type GuardedMount, parseTask } from './freeze-guard-protocol.js';
import {
  type FreezeRecord,
  findRecord,
  hasRecord,
  removeRecord,
  startTimeOf,
  type ThawReason,
  writeRecord,
} from './freeze-record.js';
import { type GuardWork, runGuard, type ThawedWork } from './guard-run.js';

/**
 * A program of its own: the guard of mounts of this machine. Only this process knows for certain what was frozen and by
 * whom, so it also is the one that starts fsfreeze.
 *
 * Everything that it needs is open and in memory before the first freeze, and it writes no file until after the thaw.
 */
const { mounts, timeout, hooks, probe = false } = parseTask(process.argv[2] ?? '');
const guard = { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };

interface Frozen {
  readonly mount: GuardedMount;
  readonly fd: number;
}

class FrozenMounts implements GuardWork {
  readonly #open: Frozen[] = [];
  /** What is frozen now, by us, in the order in which it was. */
  readonly #frozen: Frozen[] = [];

  async freeze(stop: AbortSignal, began: () => void): Promise<readonly string[]> {
    for (const mount of mounts) this.#open.push({ mount, fd: openMount(mount.mountPoint) });
    rehearseThaw();
    lockMemory();
    for (const at of this.#open) {
      if (stop.aborted) throw DiskError.cancelled(stop);
      began();
      await this.#freezeOne(at);
    }
    return this.#frozen.map(({ mount }) => mount.mountPoint);
  }

  /** Freezes one mount. Its record is written before, for afterwards nothing may be. */
  async #freezeOne(at: Frozen): Promise<void> {
    const earlier = findRecord(at.mount);
    // A probe of what is known to be frozen leaves that record alone.
    if (!probe || earlier === undefined) keepRecord(recordOf(at.mount));
    try {
      await freezeMount(at.mount.mountPoint);
    } catch (error) {
      // Where somebody else has it frozen, what was known of that stays known.
      if (earlier === undefined) removeRecord(at.mount.device);
      else keepRecord(earlier);
      if (at.mount.optional === true && hasCode(error, 'UNSUPPORTED')) return;
      throw error;
    }
    this.#frozen.push(at);
  }

  /** Runs to its end without waiting for anything. */
  async thaw(why: ThawReason | 'asked'): Promise<ThawedWork> {
    const stuck: string[] = [];
    const thawed: GuardedMount[] = [];
    const thawedBefore: GuardedMount[] = [];
    for (let at = this.#frozen.pop(); at !== undefined; at = this.#frozen.pop()) {
      try {
        // Where it was not frozen any more somebody else has thawed it, and knows.
        if (thawDescriptor(at.fd, at.mount.mountPoint)) thawed.push(at.mount);
        else thawedBefore.push(at.mount);
      } catch (error) {
        stuck.push(error instanceof Error ? error.message : String(error));
      }
    }
    for (const { device } of thawedBefore) removeRecord(device);
    for (const mount of thawed) {
      if (why === 'asked') removeOwnRecord(mount);
      else keepRecord({ ...recordOf(mount), thawed: { why, at: Date.now() } });
    }
    return { stuck, elsewhere: thawedBefore.map(({ mountPoint }) => mountPoint) };
  }

  forget(): void {
    for (const { mount } of this.#frozen.splice(0)) removeRecord(mount.device);
  }

  look(): 'go-on' | 'done' {
    for (const at of [...this.#frozen]) {
      if (!hasRecord(at.mount.device)) this.#frozen.splice(this.#frozen.indexOf(at), 1);
    }
    return this.#frozen.length > 0 ? 'go-on' : 'done';
  }

  note({ complaints }: { readonly complaints: readonly string[] }): void {
    const [mount] = mounts;
    if (mount === undefined || complaints.length === 0) return;
    keepRecord({ ...recordOf(mount), thawed: { why: 'asked', at: Date.now(), complaints } });
  }

  close(): void {
    for (const { fd } of this.#open) closeSync(fd);
    unlockMemory();
  }
}

function recordOf({ id, device, mountPoint }: GuardedMount): FreezeRecord {
  return { device, mountPoint, mountId: id, guard, timeout, frozenAt: Date.now(), hooks: hooks !== undefined };
}

function removeOwnRecord(mount: GuardedMount): void {
  if (findRecord(mount)?.guard.pid === guard.pid) removeRecord(mount.device);
}

function openMount(mountPoint: string): number {
  try {
    return openSync(mountPoint, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw wrapSystemError(`open ${mountPoint}`, error, { device: mountPoint });
  }
}

function keepRecord(record: FreezeRecord): void {
  try {
    writeRecord(record);
  } catch {
    // The filesystem is thawed, which is what counts; `thaw` will say that it was not frozen.
  }
}

await runGuard(new FrozenMounts(), { timeout, hooks });
