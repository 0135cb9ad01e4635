/** Times that a connection is asked for more input without having any. */
const turns = 50;
/** Of those, how many on one turn of the event loop. */
const turnsAtOnce = 5;

/** Something that may have input. */
export interface Source {
  /** Takes what there is. Returns whether there was anything. */
  poll(): boolean;
}

/**
 * Asks for more input some times before the thread sleeps. A client that waits for each reply before it asks again is back
 * within microseconds, and going to sleep and being woken costs more than that; so does each turn of the event loop.
 */
export class Attention {
  readonly #left = new Map<Source, number>();
  #looking = false;

  /** It had input: more may come. */
  pay(source: Source): void {
    this.#left.set(source, turns);
    if (this.#looking) return;
    this.#looking = true;
    setImmediate(() => this.#look());
  }

  forget(source: Source): void {
    this.#left.delete(source);
  }

  #look(): void {
    for (let turn = 0; turn < turnsAtOnce; turn++) {
      for (const [source, left] of this.#left) {
        if (source.poll()) this.#left.set(source, turns);
        else if (left > 0) this.#left.set(source, left - 1);
        else this.#left.delete(source);
      }
    }
    // While an immediate is due, the loop looks for other events without waiting for them.
    if (this.#left.size > 0) setImmediate(() => this.#look());
    else this.#looking = false;
  }
}
