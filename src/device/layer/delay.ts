import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice, Operation } from '../block-device.js';
import { Interceptor, type Passing } from './interceptor.js';
import { Pauses } from './pauses.js';

/** Milliseconds that each operation takes longer; those not named, not at all. */
export type Delays = Partial<Readonly<Record<Operation, number>>>;

/** Makes requests wait before they are carried out, each for itself: all of them, or those that touch some bytes. */
export class DelayLayer extends Interceptor {
  readonly #pauses = new Pauses(this.name);

  constructor(
    below: BlockDevice,
    private readonly delays: Delays,
    private readonly range?: RangeSet | undefined,
  ) {
    super(below, 'delays');
  }

  protected around<Result>(
    { operation, offset, length, options }: Passing,
    next: () => Promise<Result>,
  ): Promise<Result> {
    const delay = this.delays[operation] ?? 0;
    const elsewhere = this.range?.touches(offset, length) === false;
    return delay === 0 || elsewhere ? next() : this.#pauses.wait(delay, options.signal).then(next);
  }

  protected override doClose(): Promise<void> {
    this.#pauses.end();
    return super.doClose();
  }
}
