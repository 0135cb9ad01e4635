import type { Guard, GuardEnd } from '../host/freeze-guard-client.js';

/** What stands still under a guard: mounts of this machine, or a guest's. */
export interface Held {
  readonly guard: Guard;
  /** Milliseconds after which the guard thaws; 0: never. */
  readonly timeout: number;
  /** Thaws it in the ordinary course, and lets the guard go. */
  thaw(): Promise<Thawed>;
}

export interface Thawed {
  /** When it was thawed, by `monotonic`. */
  readonly at: number;
  /** How the guard ended. */
  readonly end: GuardEnd;
  /** What could not be thawed, and why. */
  readonly stuck: readonly string[];
  /** What was not frozen any more, and not by its guard's doing. */
  readonly elsewhere: readonly string[];
}
