import { DiskError } from '../../error/disk-error.js';
import type { TaskContext } from '../context.js';
import type { Held } from '../held.js';
import { refuseStuck, refuseThawedElsewhere, whileFrozen } from '../while-frozen.js';

/**
 * Does something while all stands still, and thaws.
 *
 * @param stop fires when it was thawed before, so that `take` ends
 * @returns what it resolves to, and milliseconds for which writers stood still
 * @throws {DiskError} UNSAFE, with the reason `timeout` or `thawed`, when it was thawed before; IO, with the reason
 * `still-frozen`; CANCELLED; and what `take` rejects with
 */
export async function takeConsistently<Result>(
  held: Held,
  take: () => Promise<Result>,
  stop: AbortController,
  context: TaskContext,
): Promise<{ readonly result: Result; readonly frozenFor: number }> {
  let taking: Promise<Result> | undefined;
  const start = () => {
    taking = take();
    return taking;
  };
  const { outcome, timedOut, frozenFor, thawed } = await whileFrozen(held, start, context);
  if (outcome !== 'ended') stop.abort();
  // It stops using what its caller is about to give up.
  const [taken] = await Promise.allSettled([taking ?? Promise.reject(DiskError.cancelled(context.signal))]);
  refuseStuck(thawed);
  if (outcome === 'aborted') throw DiskError.cancelled(context.signal);
  if (timedOut) {
    throw new DiskError(
      'UNSAFE',
      `thawed after ${held.timeout / 1000} s, before the copy was taken: it would not have been consistent, and is gone: --timeout gives it longer`,
      { reason: 'timeout' },
    );
  }
  refuseThawedElsewhere(thawed, 'the copy was taken, so it');
  if (taken.status === 'rejected') throw taken.reason;
  return { result: taken.value, frozenFor };
}
