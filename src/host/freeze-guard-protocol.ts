import type { HookTask } from './freeze-hooks.js';
import type { ThawReason } from './freeze-record.js';

/** What a guard and whoever started it say to each other: one JSON document a line. */

/** The one argument of the guard of mounts. */
export interface GuardTask {
  /** In the order in which they are frozen; thawed in reverse. */
  readonly mounts: readonly GuardedMount[];
  /** Milliseconds; 0: never. */
  readonly timeout: number;
  readonly hooks?: HookTask | undefined;
  /** Only to see whether it can be frozen: what is known of an earlier freeze stays known. */
  readonly probe?: boolean | undefined;
}

export interface GuardedMount {
  readonly id: number;
  readonly device: string;
  readonly mountPoint: string;
  /** Left out where its kind cannot be frozen. */
  readonly optional?: boolean | undefined;
}

/**
 * Why something is thawed: of a guard's own accord; because whoever started the guard asked it to, or has done it; because
 * somebody else has.
 */
export type ThawCause = ThawReason | 'asked' | 'done' | 'elsewhere';

/** To the guard, on its standard input. */
export type GuardCommand =
  /** Go on alone: the end of the input means nothing from now on. */
  | 'release'
  /** All are thawed already: end. */
  | 'stand-down'
  /** Thaw them all, and end. */
  | 'thaw';

/** From the guard, on its standard output. */
export type GuardEvent =
  /** By the names of what is; `since`: when the first of it began to stand still, by `monotonic`. */
  | { readonly event: 'frozen'; readonly frozen: readonly string[]; readonly since: number }
  /** Something could not be frozen; what was is thawed again, but that of `stuck`. */
  | {
      readonly event: 'failed';
      readonly code: string;
      readonly message: string;
      readonly errno?: string | undefined;
      readonly device?: string | undefined;
      readonly reason?: string | undefined;
      readonly stuck: readonly string[];
      readonly complaints: readonly string[];
    }
  | { readonly event: 'released' }
  /** `stuck`: what could not be thawed, and why; `elsewhere`: what was not frozen any more; `complaints`: of hooks. `at`: when. */
  | {
      readonly event: 'thawed';
      readonly at: number;
      readonly why: ThawCause;
      readonly stuck: readonly string[];
      readonly elsewhere: readonly string[];
      readonly complaints: readonly string[];
    };

/** Milliseconds of a clock that all processes of this machine share: clock_gettime(2), CLOCK_MONOTONIC. */
export function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export function parseTask(text: string): GuardTask {
  const value: unknown = JSON.parse(text);
  if (!isTask(value)) throw new TypeError('the guard was given no task');
  return value;
}

function isTask(value: unknown): value is GuardTask {
  return (
    typeof value === 'object' &&
    value !== null &&
    'timeout' in value &&
    typeof value.timeout === 'number' &&
    'mounts' in value &&
    Array.isArray(value.mounts)
  );
}

export function parseEvent(line: string): GuardEvent | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isEvent(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isEvent(value: unknown): value is GuardEvent {
  if (typeof value !== 'object' || value === null || !('event' in value)) return false;
  const lists = (...names: string[]) => names.every((name) => Array.isArray(Reflect.get(value, name)));
  switch (value.event) {
    case 'released':
      return true;
    case 'frozen':
      return lists('frozen') && 'since' in value && typeof value.since === 'number';
    case 'failed':
      return 'message' in value && typeof value.message === 'string' && lists('stuck', 'complaints');
    case 'thawed':
      return (
        'why' in value &&
        typeof value.why === 'string' &&
        'at' in value &&
        typeof value.at === 'number' &&
        lists('stuck', 'elsewhere', 'complaints')
      );
    default:
      return false;
  }
}
