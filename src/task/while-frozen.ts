import { DiskError } from '../error/disk-error.js';
import { stillFrozen } from '../host/freeze-guard-client.js';
import type { TaskContext } from './context.js';
import type { Held, Thawed } from './held.js';

/** Why the wait for what is done meanwhile is over. */
export type Outcome = 'ended' | 'timeout' | 'aborted' | 'thawed';

export interface WhileFrozen {
  readonly outcome: Outcome;
  readonly timedOut: boolean;
  /** Milliseconds for which writers stood still. */
  readonly frozenFor: number;
  readonly thawed: Thawed;
}

/**
 * Waits for the end of what is done while something stands still, and thaws it whatever happens: before anything else,
 * for a process that writes to a frozen filesystem cannot be killed.
 *
 * @param start begins it, and returns its end; what that rejects with is for whoever started it
 */
export async function whileFrozen(
  held: Held,
  start: () => Promise<unknown>,
  context: TaskContext,
): Promise<WhileFrozen> {
  let outcome: Outcome = 'ended';
  let thawed: Thawed;
  try {
    outcome = await wait(start(), held, context);
  } finally {
    thawed = await held.thaw();
  }
  const frozenFor = Math.round(thawed.at - held.guard.since);
  for (const complaint of thawed.end.complaints) context.onWarning?.(complaint);
  return { outcome, timedOut: outcome === 'timeout' || thawed.end.why === 'timeout', frozenFor, thawed };
}

/** @throws {DiskError} IO, with the reason `still-frozen` */
export function refuseStuck({ stuck }: Thawed): void {
  if (stuck.length > 0) throw stillFrozen(stuck);
}

/** @throws {DiskError} UNSAFE, with the reason `thawed`, when it was thawed before its time */
export function refuseThawedElsewhere({ elsewhere }: Thawed, what: string): void {
  if (elsewhere.length === 0) return;
  throw new DiskError('UNSAFE', `${elsewhere.join(', ')}: thawed by somebody else before ${what} is not consistent`, {
    reason: 'thawed',
  });
}

async function wait(work: Promise<unknown>, held: Held, { signal, onWarning }: TaskContext): Promise<Outcome> {
  const { guard, timeout } = held;
  const finish = new AbortController();
  const ended = work.then(
    (): Outcome => 'ended',
    (): Outcome => 'ended',
  );
  const aborted = new Promise<Outcome>((resolve) => {
    if (signal?.aborted) resolve('aborted');
    signal?.addEventListener('abort', () => resolve('aborted'), { once: true, signal: finish.signal });
  });
  const deadline = performance.now() + timeout;
  try {
    const first = await Promise.race([ended, aborted, guard.ended]);
    if (typeof first === 'string') return first;
    if (first.why !== 'gone') return first.why === 'timeout' ? 'timeout' : 'thawed';
    onWarning?.('the guard that was to thaw was killed: from here on only this process thaws');
    const others =
      timeout === 0 ? [] : [sleep(deadline - performance.now(), finish.signal).then((): Outcome => 'timeout')];
    return await Promise.race([ended, aborted, ...others]);
  } finally {
    finish.abort();
  }
}

function sleep(time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, time));
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
}
