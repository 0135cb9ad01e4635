/** Loads a value, by the number that it is kept under. */
type Load<Value> = () => Promise<Value>;

export interface LoadingCacheOptions {
  /** Bytes of the values that are kept. */
  readonly limit: number;
  /** Values that are loaded at the same time. */
  readonly parallel: number;
}

/**
 * Values that are loaded once, however many wait for them, and kept while there is room: the one that was longest not
 * asked for goes first. A failure is not kept.
 */
export class LoadingCache<Value extends { readonly byteLength: number }> {
  /** In the order of their last use, the oldest first. */
  readonly #kept = new Map<number, Value>();
  readonly #loading = new Map<number, Promise<Value>>();
  readonly #waiting: (() => void)[] = [];
  readonly #limit: number;
  readonly #parallel: number;
  #bytes = 0;
  #running = 0;
  #lastKey = -1;
  #last: Value | undefined;

  constructor({ limit, parallel }: LoadingCacheOptions) {
    this.#limit = limit;
    this.#parallel = parallel;
  }

  /** The value, if it is there at once. */
  known(key: number): Value | undefined {
    if (key === this.#lastKey) return this.#last;
    const value = this.#kept.get(key);
    if (value === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, value);
    this.#lastKey = key;
    this.#last = value;
    return value;
  }

  /** The value that is there, or is being loaded, or that `load` brings. */
  load(key: number, load: Load<Value>): Promise<Value> {
    const known = this.known(key);
    if (known !== undefined) return Promise.resolve(known);
    const found = this.#loading.get(key);
    if (found !== undefined) return found;
    const loading = this.#loadInTurn(key, load);
    this.#loading.set(key, loading);
    return loading;
  }

  async #loadInTurn(key: number, load: Load<Value>): Promise<Value> {
    try {
      if (this.#running >= this.#parallel) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      else this.#running++;
      try {
        const value = await load();
        this.#keep(key, value);
        return value;
      } finally {
        // Whoever waits takes over the turn.
        const next = this.#waiting.shift();
        if (next === undefined) this.#running--;
        else next();
      }
    } finally {
      this.#loading.delete(key);
    }
  }

  #keep(key: number, value: Value): void {
    this.#kept.set(key, value);
    this.#bytes += value.byteLength;
    for (const [oldest, { byteLength }] of this.#kept) {
      if (this.#bytes <= this.#limit || oldest === key) break;
      this.#kept.delete(oldest);
      this.#bytes -= byteLength;
      if (oldest === this.#lastKey) this.#lastKey = -1;
    }
  }
}
