import { describe, type Place } from './message.js';

/** What kind of failure it is. Callers match on this, never on the message. */
export type ErrorCode =
  /** The command line asks for something impossible. */
  | 'USAGE'
  /** A file, device, partition or export that is not there. */
  | 'NOT_FOUND'
  /** The host or a peer failed; `errno` says how. */
  | 'IO'
  /** Bytes contradict their format. */
  | 'CORRUPT'
  /** Valid, but not something that disktool (or this host) does. */
  | 'UNSUPPORTED'
  /** It could be done, and could lose data. */
  | 'UNSAFE'
  /** Locked, mounted or in use by somebody else. */
  | 'BUSY'
  /** A write to something that only reads. */
  | 'READ_ONLY'
  /** An NBD peer broke the protocol. */
  | 'PROTOCOL'
  /** Ended by a signal or an AbortSignal. */
  | 'CANCELLED';

/** The facts of a failure, kept beside its message for programs. */
export interface ErrorFacts extends Place {
  /** The symbolic name of the system's error: `ENOSPC`. */
  errno?: string | undefined;
  /** A stable word for one of several refusals that share a code: `internal-snapshots`. */
  reason?: string | undefined;
  cause?: unknown;
}

/** The one error that disktool throws on purpose; anything else that escapes is a bug. */
export class DiskError extends Error {
  override readonly name = 'DiskError';
  readonly code: ErrorCode;
  readonly facts: Readonly<Omit<ErrorFacts, 'cause'>>;

  constructor(code: ErrorCode, message: string, { cause, ...facts }: ErrorFacts = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.facts = facts;
  }

  get errno(): string | undefined {
    return this.facts.errno;
  }

  /** Bytes that contradict their format: the message is composed from the place. */
  static corrupt(place: Place, cause?: unknown): DiskError {
    return new DiskError('CORRUPT', describe(place), { ...place, cause });
  }

  /** A valid structure that disktool does not handle: the message is composed from the place. */
  static unsupported(place: Place): DiskError {
    return new DiskError('UNSUPPORTED', describe(place), place);
  }

  /** The signal that was given to an operation has fired. */
  static cancelled(signal?: AbortSignal): DiskError {
    return new DiskError('CANCELLED', 'cancelled', { cause: signal?.reason });
  }

  /** One document for `--json`: every fact that is set, in a stable order. */
  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message, ...this.facts };
  }
}

/** True for an error of ours with one of these codes. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is DiskError {
  return error instanceof DiskError && codes.includes(error.code);
}
