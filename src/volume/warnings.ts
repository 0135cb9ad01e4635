/** More of them tell nobody anything, and a hostile table could cause thousands. */
const limit = 16;

/** Collects what is odd about a table, up to a limit. */
export class Warnings {
  readonly #kept: string[] = [];
  #more = 0;

  add(message: string): void {
    if (this.#kept.length < limit) this.#kept.push(message);
    else this.#more++;
  }

  /** The first ones, and how many were left off. */
  list(): readonly string[] {
    return this.#more === 0 ? this.#kept : [...this.#kept, `${this.#more} more of the kind`];
  }
}
