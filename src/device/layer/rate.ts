import type { BlockDevice } from '../block-device.js';
import { Interceptor, type Passing } from './interceptor.js';
import { Pauses } from './pauses.js';

/** Milliseconds of unused time that may be made up for at once. */
const burst = 100;

/**
 * Reads and writes no more than so many bytes a second together, in the order in which they are asked. A request of any
 * length goes through whole, and those after it wait for its time to pass.
 */
export class RateLayer extends Interceptor {
  readonly #pauses = new Pauses(this.name);
  /** When what has been let through so far is paid for. */
  #paidUntil = 0;

  /** @param bytesPerSecond above 0 */
  constructor(
    below: BlockDevice,
    private readonly bytesPerSecond: number,
  ) {
    super(below, 'rate limit');
  }

  protected around<Result>({ operation, length, options }: Passing, next: () => Promise<Result>): Promise<Result> {
    if (operation !== 'read' && operation !== 'write') return next();
    const now = performance.now();
    const start = Math.max(this.#paidUntil, now - burst);
    this.#paidUntil = start + (Number(length) / this.bytesPerSecond) * 1000;
    return start <= now ? next() : this.#pauses.wait(start - now, options.signal).then(next);
  }

  protected override doClose(): Promise<void> {
    this.#pauses.end();
    return super.doClose();
  }
}
