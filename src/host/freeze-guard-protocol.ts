import type { ThawReason } from './freeze-record.js';

/** What the guard and whoever started it say to each other: one JSON document a line. */

/** The guard's one argument. */
export interface GuardTask {
  /** In the order in which they are frozen; thawed in reverse. */
  readonly mounts: readonly GuardedMount[];
  /** Milliseconds; 0: never. */
  readonly timeout: number;
}

export interface GuardedMount {
  readonly id: number;
  readonly device: string;
  readonly mountPoint: string;
}

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
  | { readonly event: 'frozen'; readonly memoryLocked: boolean }
  /** One could not be frozen; the others are thawed again, but those of `stuck`. */
  | {
      readonly event: 'failed';
      readonly code: string;
      readonly message: string;
      readonly errno?: string | undefined;
      readonly device?: string | undefined;
      readonly stuck: readonly string[];
    }
  | { readonly event: 'released' }
  /** The guard has thawed. `stuck`: what it could not thaw, and why. */
  | { readonly event: 'thawed'; readonly why: ThawReason | 'asked'; readonly stuck: readonly string[] };

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
  switch (value.event) {
    case 'frozen':
    case 'released':
      return true;
    case 'failed':
      return 'message' in value && typeof value.message === 'string' && 'stuck' in value && Array.isArray(value.stuck);
    case 'thawed':
      return 'why' in value && typeof value.why === 'string' && 'stuck' in value && Array.isArray(value.stuck);
    default:
      return false;
  }
}
