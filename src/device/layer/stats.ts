import type { BlockDevice, Operation } from '../block-device.js';
import { Interceptor, type Passing } from './interceptor.js';

export interface OperationStats {
  requests: number;
  failures: number;
  /** Bytes of the requests that were carried out. */
  bytes: bigint;
  /** Milliseconds of all together, and of the slowest. */
  time: number;
  slowest: number;
}

/** Counts requests, bytes and times by operation. */
export class StatsLayer extends Interceptor {
  readonly #stats = new Map<Operation, OperationStats>();

  constructor(below: BlockDevice) {
    super(below, 'stats');
  }

  /** What has ended until now; operations that nobody asked for are not there. */
  get stats(): ReadonlyMap<Operation, Readonly<OperationStats>> {
    return this.#stats;
  }

  protected around<Result>({ operation, length }: Passing, next: () => Promise<Result>): Promise<Result> {
    const start = performance.now();
    return next().then(
      (result) => {
        this.#count(operation, start, length);
        return result;
      },
      (error: unknown) => {
        this.#count(operation, start, undefined);
        throw error;
      },
    );
  }

  /** @param length bytes, or undefined when it failed */
  #count(operation: Operation, start: number, length: bigint | undefined): void {
    const time = performance.now() - start;
    const stats = this.#stats.get(operation) ?? { requests: 0, failures: 0, bytes: 0n, time: 0, slowest: 0 };
    this.#stats.set(operation, stats);
    stats.requests++;
    if (length === undefined) stats.failures++;
    else stats.bytes += length;
    stats.time += time;
    stats.slowest = Math.max(stats.slowest, time);
  }
}
