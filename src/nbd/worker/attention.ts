/** Turns of the event loop without anything to do. */
const turns = 50;

/**
 * Looks for more input some times before the thread sleeps. A client that waits for each reply before it asks again is
 * back within microseconds, and going to sleep and being woken costs more than that.
 */
export class Attention {
  #left = 0;
  #looking = false;

  /** Something has arrived: more may come. */
  pay(): void {
    this.#left = turns;
    if (this.#looking) return;
    this.#looking = true;
    setImmediate(() => this.#look());
  }

  /** While an immediate is due, the loop asks for events without waiting for them. */
  #look(): void {
    this.#left--;
    if (this.#left > 0) setImmediate(() => this.#look());
    else this.#looking = false;
  }
}
