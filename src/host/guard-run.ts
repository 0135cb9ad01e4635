import { createInterface } from 'node:readline';
import { DiskError } from '../error/disk-error.js';
import type { GuardEvent, ThawCause } from './freeze-guard-protocol.js';
import { FreezeHooks, type HookTask } from './freeze-hooks.js';

/** Milliseconds: the longest that a timer takes. */
const longest = 2 ** 31 - 1;

/** What a guard holds still. */
export interface GuardWork {
  /**
   * Freezes: all of it, or what {@link thaw} gives back.
   *
   * @param stop fires when it is no longer wanted
   * @returns the names of what is frozen
   */
  freeze(stop: AbortSignal): Promise<readonly string[]>;
  /** Thaws what is frozen by now. @returns what could not be thawed, and why */
  thaw(why: ThawCause): Promise<readonly string[]>;
  /** Somebody else has thawed it in good order. */
  forget(): void;
  /** Whether there still is something to thaw, or somebody has done it and taken the record away. */
  holds(): boolean;
  /** Leaves word for whoever asked for the thaw through the record. */
  note(complaints: readonly string[]): void;
  /** Before the process ends. */
  close(): void;
}

export interface GuardTimes {
  /** Milliseconds after which it thaws by itself; 0: never. */
  readonly timeout: number;
  readonly hooks?: HookTask | undefined;
}

/**
 * What every guard does, as a process of its own: it freezes, and sees to it that what it froze is thawed, whatever
 * becomes of whoever started it. It is spoken to in lines: freeze-guard-protocol.ts.
 */
export async function runGuard(work: GuardWork, { timeout, hooks: hookTask }: GuardTimes): Promise<void> {
  const hooks = new FreezeHooks(hookTask);
  const stop = new AbortController();
  const stuck: string[] = [];
  let freezing = true;
  let released = false;
  let finishing = false;
  let ending: ThawCause | undefined;
  let timer: NodeJS.Timeout | undefined;

  const say = (event: GuardEvent) => void process.stdout.write(`${JSON.stringify(event)}\n`);
  const leave = (): never => {
    work.close();
    process.exit();
  };
  const startTimer = () => {
    clearTimeout(timer);
    if (timeout > 0) timer = setTimeout(() => end('timeout'), timeout);
  };
  const thaw = async (why: ThawCause) => void stuck.push(...(await work.thaw(why)));
  /** The last things, once. */
  const finish = async (why: ThawCause) => {
    if (finishing) return;
    finishing = true;
    clearTimeout(timer);
    if (why === 'done') work.forget();
    else await thaw(why);
    say({ event: 'thawed', why, stuck, complaints: await hooks.thaw() });
    leave();
  };
  /** Thaws, whatever else is going on. */
  const end = (why: ThawCause) => {
    ending ??= why;
    stop.abort();
    if (!freezing) void finish(ending);
    // While something is at work that freezes, what that freezes is thawed when it is done; the rest at once.
    else void thaw(ending);
  };
  /** Somebody thawed some of it, or all, and took the records of that away. */
  const lookAgain = async () => {
    if (work.holds() || freezing || finishing) return;
    finishing = true;
    clearTimeout(timer);
    const complaints = await hooks.thaw();
    if (complaints.length > 0) work.note(complaints);
    leave();
  };

  // Signals alone do not keep a process from ending.
  setInterval(() => {}, longest);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => end('signal'));
  process.on('SIGUSR2', () => void lookAgain());
  // A mistake in here must not leave anything frozen either.
  process.on('uncaughtException', () => end('abandoned'));
  process.stdout.on('error', () => {});
  const input = createInterface({ input: process.stdin });
  input.on('line', (line) => {
    if (line === 'thaw') end('asked');
    else if (line === 'stand-down') void finish('done');
    else if (line === 'release') {
      released = true;
      say({ event: 'released' });
      // Nothing is left to do where it is never to thaw by itself.
      if (timeout === 0 && !hooks.any) leave();
    }
  });
  input.on('close', () => {
    if (!released) end('abandoned');
  });

  try {
    await hooks.freeze(stop.signal);
    startTimer();
    const frozen = await work.freeze(stop.signal);
    freezing = false;
    if (ending === undefined) {
      startTimer();
      say({ event: 'frozen', frozen });
    } else await finish(ending);
  } catch (error) {
    freezing = false;
    if (ending !== undefined) return await finish(ending);
    finishing = true;
    await thaw('asked');
    const complaints = await hooks.thaw();
    say({ event: 'failed', ...describeFailure(error), stuck, complaints });
    leave();
  }
}

function describeFailure(error: unknown) {
  const { errno, device, reason } = error instanceof DiskError ? error.facts : {};
  return {
    code: error instanceof DiskError ? error.code : 'IO',
    message: error instanceof Error ? error.message : String(error),
    errno,
    device,
    reason,
  };
}
