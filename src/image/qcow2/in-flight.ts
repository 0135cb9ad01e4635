import { done } from '../../device/block-device.js';

/**
 * The parts of one request that are under way at the same time. The first failure is thrown once all of them have come to
 * rest: until then they write to the buffer of whoever asked.
 */
export class InFlight {
  #count = 0;
  #failure: { readonly error: unknown } | undefined;
  #changed: (() => void) | undefined;

  /** @param most parts at the same time */
  constructor(private readonly most: number) {}

  /** Whether a part has failed: then no other one need be started. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Takes up a part that has been started. */
  add(part: Promise<void>): void {
    if (part === done) return;
    this.#count++;
    part.then(
      () => this.#ended(undefined),
      (error: unknown) => this.#ended({ error }),
    );
  }

  /** Waits until another part may be started. */
  async room(): Promise<void> {
    while (this.#count >= this.most) await this.#change();
  }

  /** Waits for all parts. */
  async end(): Promise<void> {
    while (this.#count > 0) await this.#change();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #ended(failure: { readonly error: unknown } | undefined): void {
    this.#failure ??= failure;
    this.#count--;
    this.#changed?.();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = resolve;
    });
  }
}
