import type { Bytes } from './extent.js';

/** Lets changes of overlapping ranges come one after the other, in the order in which they were asked for. */
export class RangeLock {
  readonly #changes = new Set<{ start: Bytes; end: Bytes; ended: Promise<void> }>();

  /** Carries out a change of [start, end) when all earlier ones that overlap it have ended. */
  async run<Result>(start: Bytes, end: Bytes, change: () => Promise<Result>): Promise<Result> {
    let finish = () => {};
    const mine = {
      start,
      end,
      ended: new Promise<void>((resolve) => {
        finish = resolve;
      }),
    };
    // Those that came before, and no later ones, so that nobody waits for each other.
    const before = [...this.#changes].filter((other) => other.start < end && start < other.end);
    this.#changes.add(mine);
    try {
      await Promise.all(before.map(({ ended }) => ended));
      return await change();
    } finally {
      this.#changes.delete(mine);
      finish();
    }
  }

  /** Resolves when none is under way of those that there are now. */
  async idle(): Promise<void> {
    await Promise.all([...this.#changes].map(({ ended }) => ended));
  }
}
