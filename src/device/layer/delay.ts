import type { BlockDevice, Operation } from '../block-device.js';
import { Interceptor, type Passing } from './interceptor.js';
import { Pauses } from './pauses.js';

/** Milliseconds that each operation takes longer; those not named, not at all. */
export type Delays = Partial<Readonly<Record<Operation, number>>>;

/** Makes requests wait before they are carried out, each for itself. */
export class DelayLayer extends Interceptor {
  readonly #pauses = new Pauses(this.name);

  constructor(
    below: BlockDevice,
    private readonly delays: Delays,
  ) {
    super(below, 'delays');
  }

  protected around<Result>({ operation, options }: Passing, next: () => Promise<Result>): Promise<Result> {
    const delay = this.delays[operation] ?? 0;
    return delay === 0 ? next() : this.#pauses.wait(delay, options.signal).then(next);
  }

  protected override doClose(): Promise<void> {
    this.#pauses.end();
    return super.doClose();
  }
}
