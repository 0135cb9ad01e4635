import { DiskError } from '../error/disk-error.js';
import type { FreezeRecord, Thawed } from '../host/freeze-record.js';
import { isAlive } from '../host/freeze-record.js';
import { sendTo } from '../host/process.js';

const reasons: Readonly<Record<Thawed['why'], string>> = {
  timeout: 'by its timeout',
  abandoned: 'when the disktool that froze it was killed',
  signal: 'when its guard was told to end',
  asked: 'by another thaw',
};

/** Milliseconds for which a guard is given to end; and where it has more to do, each part of which has its own bound. */
const patience = 2000;
const longPatience = 3_600_000;

/**
 * What there is to thaw had been thawed before.
 *
 * @param thawed what is known of that; undefined: nothing
 */
export function thawedBefore(what: string, thawed: Thawed | undefined): DiskError {
  const ago = thawed === undefined ? '' : ` ${Math.max(0, Math.round((Date.now() - thawed.at) / 1000))} s ago`;
  const by = thawed === undefined ? 'by somebody else' : reasons[thawed.why];
  return new DiskError(
    'UNSAFE',
    `thaw ${what}: it was thawed ${by}${ago}, so a snapshot taken since is not consistent`,
    { device: what, reason: 'thawed', errno: 'EINVAL' },
  );
}

export function notOurs(what: string, statusOf: string): DiskError {
  return new DiskError(
    'UNSAFE',
    `thaw ${what}: disktool has not frozen it: whoever else has may rely on it (${statusOf} tells whether it is); --force thaws it all the same`,
    { device: what, reason: 'not-ours' },
  );
}

/** One failure as it is; of several the code and the facts of the first, and the words of all. */
export function throwAll(failures: readonly unknown[]): void {
  const [first, ...others] = failures;
  if (first === undefined) return;
  if (others.length === 0 || !(first instanceof DiskError)) throw first;
  const messages = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)));
  throw new DiskError(first.code, messages.join('; '), { ...first.facts, cause: first });
}

/**
 * Has a guard look at the records again, and waits until it is gone.
 *
 * @param long it has hooks to call, or a guest to thaw
 */
export async function wakeGuard(guard: FreezeRecord['guard'], long: boolean): Promise<void> {
  const deadline = performance.now() + (long ? longPatience : patience);
  if (isAlive(guard)) sendTo(guard.pid, 'SIGUSR2');
  while (isAlive(guard) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
