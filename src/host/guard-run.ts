import { createInterface } from 'node:readline';
import { DiskError } from '../error/disk-error.js';
import { type GuardEvent, monotonic } from './freeze-guard-protocol.js';
import { FreezeHooks, type HookTask } from './freeze-hooks.js';
import type { ThawReason } from './freeze-record.js';

/** Milliseconds: the longest that a timer takes. */
const longest = 2 ** 31 - 1;

/** What a guard holds still. */
export interface GuardWork {
  /**
   * Freezes: all of it, or what {@link thaw} gives back.
   *
   * @param stop fires when it is no longer wanted
   * @param began is called before the first of it stands still
   * @returns the names of what is frozen
   */
  freeze(stop: AbortSignal, began: () => void): Promise<readonly string[]>;
  /** Thaws what is frozen by now. */
  thaw(why: ThawReason | 'asked'): Promise<ThawedWork>;
  /** Somebody else has thawed it in good order. */
  forget(): void;
  /** What the records say that somebody has done, or wants: it is to go on, to thaw, or has nothing to thaw any more. */
  look(): 'go-on' | 'thaw' | 'done';
  /** Leaves word for whoever that is. */
  note(thawed: ThawedWork & { readonly complaints: readonly string[] }): void;
  /** Before the process ends. */
  close(): void;
}

export interface ThawedWork {
  /** What could not be thawed, and why. */
  readonly stuck: readonly string[];
  /** What was not frozen any more. */
  readonly elsewhere: readonly string[];
  /** What is to be said of a freeze that failed half-way: the state that it was left in. */
  readonly left?: string | undefined;
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
  const elsewhere: string[] = [];
  let freezing = true;
  let released = false;
  let finishing = false;
  let ending: ThawReason | 'asked' | undefined;
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
  let left: string | undefined;
  let since: number | undefined;
  let at: number | undefined;
  const thaw = async (why: ThawReason | 'asked') => {
    const thawed = await work.thaw(why);
    at = monotonic();
    left ??= thawed.left;
    stuck.push(...thawed.stuck);
    elsewhere.push(...thawed.elsewhere);
  };
  /** The last things, once. */
  const finish = async (why: ThawReason | 'asked' | 'done') => {
    if (finishing) return;
    finishing = true;
    clearTimeout(timer);
    if (why === 'done') work.forget();
    else await thaw(why);
    at ??= monotonic();
    say({ event: 'thawed', why, at, stuck, elsewhere, complaints: await hooks.thaw() });
    leave();
  };
  /** Thaws, whatever else is going on. */
  const end = (why: ThawReason | 'asked') => {
    ending ??= why;
    stop.abort();
    if (!freezing) void finish(ending);
    // While something is at work that freezes, what that freezes is thawed when it is done; the rest at once.
    else void thaw(ending);
  };
  /** Somebody has changed the records. */
  const lookAgain = async () => {
    if (freezing || finishing) return;
    const found = work.look();
    if (found === 'go-on') return;
    finishing = true;
    clearTimeout(timer);
    if (found === 'thaw') await thaw('asked');
    at ??= monotonic();
    const complaints = await hooks.thaw();
    work.note({ stuck, elsewhere, complaints });
    say({ event: 'thawed', why: 'elsewhere', at, stuck, elsewhere, complaints });
    leave();
  };

  // Signals alone do not keep a process from ending.
  setInterval(() => {}, longest);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => end('signal'));
  process.on('SIGUSR2', () => void lookAgain());
  // A mistake in here must not leave anything frozen either.
  process.on('uncaughtException', () => (finishing ? leave() : end('abandoned')));
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
    const frozen = await work.freeze(stop.signal, () => {
      since ??= monotonic();
    });
    freezing = false;
    if (ending === undefined) {
      startTimer();
      say({ event: 'frozen', frozen, since: since ?? monotonic() });
    } else await finish(ending);
  } catch (error) {
    freezing = false;
    if (ending !== undefined) return await finish(ending);
    finishing = true;
    await thaw('asked');
    const complaints = await hooks.thaw();
    say({ event: 'failed', ...describeFailure(error, left), stuck, complaints });
    leave();
  }
}

function describeFailure(error: unknown, left: string | undefined) {
  const message = error instanceof Error ? error.message : String(error);
  const { errno, device, reason } = error instanceof DiskError ? error.facts : {};
  return {
    code: error instanceof DiskError ? error.code : 'IO',
    message: left === undefined ? message : `${message}: ${left}`,
    errno,
    device,
    reason,
  };
}
