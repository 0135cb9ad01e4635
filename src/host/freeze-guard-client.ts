import { DiskError, type ErrorCode } from '../error/disk-error.js';
import { compiledFile } from './compiled.js';
import {
  type GuardCommand,
  type GuardEvent,
  type GuardTask,
  parseEvent,
  type ThawCause,
} from './freeze-guard-protocol.js';
import { type Helper, startHelper } from './process.js';

/** How a guard ended. */
export interface GuardEnd {
  /** Why it thawed; `gone`: it was killed, and nobody thaws any more. */
  readonly why: ThawCause | 'gone';
  /** When all was thawed, by `monotonic`; undefined: it was killed. */
  readonly at?: number;
  /** What it could not thaw, and why. */
  readonly stuck: readonly string[];
  /** What was not frozen any more. */
  readonly elsewhere: readonly string[];
  /** What went wrong with the hooks that it called afterwards, in words. */
  readonly complaints: readonly string[];
}

/** A guard at work: what it was given is frozen. */
export interface Guard {
  /** The names of what is frozen, in the order in which it was. */
  readonly names: readonly string[];
  /** When the first of it began to stand still, by `monotonic`. */
  readonly since: number;
  /** Settles when it ends without having been told to stand down. */
  readonly ended: Promise<GuardEnd>;
  /** Lets it go on alone. */
  release(): Promise<void>;
  /** Everything has been thawed: it ends. */
  standDown(): Promise<GuardEnd>;
  /** Has it thaw at once. */
  thaw(): Promise<GuardEnd>;
}

const codes: readonly ErrorCode[] = [
  'BUSY',
  'UNSUPPORTED',
  'UNSAFE',
  'PROTOCOL',
  'IO',
  'NOT_FOUND',
  'READ_ONLY',
  'CANCELLED',
];

/**
 * Freezes mounts under a guard of their own, in the order given: all of them, or none.
 *
 * @throws {DiskError} what the first one that could not be frozen met; CANCELLED
 */
export function freezeUnderGuard(task: GuardTask, signal?: AbortSignal): Promise<Guard> {
  return startGuard(compiledFile(import.meta.url, 'freeze-guard.js'), task, signal);
}

/**
 * Starts a guard and waits until it has frozen what it was told to.
 *
 * @param file the guard's program
 * @throws {DiskError} what it met; CANCELLED
 */
export async function startGuard(file: string, task: object, signal?: AbortSignal): Promise<Guard> {
  if (signal?.aborted) throw DiskError.cancelled(signal);
  const helper = startHelper(file, JSON.stringify(task));
  const link = new GuardLink(helper);
  const cancel = () => link.send('thaw');
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    const first = await Promise.race([link.frozen, link.ended]);
    if (first === 'frozen' && signal?.aborted !== true) return link;
    const { why, stuck } = await link.thaw();
    if (stuck.length > 0) throw stillFrozen(stuck);
    if (signal?.aborted) throw DiskError.cancelled(signal);
    throw new DiskError('IO', why === 'timeout' ? 'freezing took longer than the timeout' : 'the freeze guard died');
  } catch (error) {
    helper.detach();
    throw error;
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** The loudest thing that there is to say. */
export function stillFrozen(stuck: readonly string[]): DiskError {
  return new DiskError('IO', `STILL FROZEN: ${stuck.join('; ')}: thaw it with fsfreeze --unfreeze`, {
    reason: 'still-frozen',
  });
}

class GuardLink implements Guard {
  readonly #helper: Helper;
  readonly ended: Promise<GuardEnd>;
  readonly frozen: Promise<'frozen'>;
  readonly #released: Promise<void>;
  #names: readonly string[] = [];
  #since = 0;
  #tellReleased = () => {};
  #tellFrozen: (state: 'frozen') => void = () => {};
  #failFrozen: (error: DiskError) => void = () => {};

  constructor(helper: Helper) {
    this.#helper = helper;
    this.frozen = new Promise((resolve, reject) => {
      this.#tellFrozen = resolve;
      this.#failFrozen = reject;
    });
    this.frozen.catch(() => {});
    this.#released = new Promise((resolve) => {
      this.#tellReleased = resolve;
    });
    this.ended = this.#listen();
  }

  get names(): readonly string[] {
    return this.#names;
  }

  get since(): number {
    return this.#since;
  }

  send(command: GuardCommand): void {
    this.#helper.send(command);
  }

  async release(): Promise<void> {
    this.send('release');
    const end = await Promise.race([this.#released, this.ended]);
    this.#helper.detach();
    if (end !== undefined) throw new DiskError('IO', 'the freeze guard ended before its time: nothing is frozen now');
  }

  async standDown(): Promise<GuardEnd> {
    this.send('stand-down');
    const end = await this.ended;
    this.#helper.detach();
    return end;
  }

  async thaw(): Promise<GuardEnd> {
    this.send('thaw');
    const end = await this.ended;
    this.#helper.detach();
    return end;
  }

  async #listen(): Promise<GuardEnd> {
    let end: GuardEnd = { why: 'gone', stuck: [], elsewhere: [], complaints: [] };
    try {
      for await (const line of this.#helper.lines) {
        const said = parseEvent(line);
        if (said?.event === 'frozen') {
          this.#names = said.frozen;
          this.#since = said.since;
          this.#tellFrozen('frozen');
        } else if (said?.event === 'released') this.#tellReleased();
        else if (said?.event === 'failed') this.#failFrozen(failure(said));
        else if (said?.event === 'thawed') end = said;
      }
    } catch {
      // A pipe that breaks is one that ends.
    }
    await this.#helper.ended;
    return end;
  }
}

function failure(said: Extract<GuardEvent, { event: 'failed' }>): DiskError {
  const { errno, device, reason, stuck, complaints } = said;
  const message = [said.message, ...complaints].join('; ');
  if (stuck.length > 0) return stillFrozen([...stuck, message]);
  return new DiskError(codes.find((code) => code === said.code) ?? 'IO', message, { errno, device, reason });
}
