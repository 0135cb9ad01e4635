import { availableParallelism } from 'node:os';
import type koffi from 'koffi';

/** A function of a library, as koffi declares it. */
export type Entry = ReturnType<ReturnType<typeof koffi.load>['func']>;

/**
 * Calls that koffi is given at the same time, enough for a thread on each core. It takes 256, whoever makes them, and
 * throws at one more; and keeps memory for 8, where more of them take 256 KiB each and give it back.
 */
const most = Math.max(8, Math.min(64, availableParallelism() + 2));

/** What koffi's threads work on: it takes addresses, and keeps nothing alive. */
const inFlight = new Set<readonly unknown[]>();
const waiting: (() => void)[] = [];

/**
 * Calls a function on one of koffi's threads, of which there are as many as cores.
 *
 * @param memory what the function reaches by addresses: stays alive until it has returned
 */
export function callOnThread(
  entry: Entry,
  args: readonly unknown[],
  memory: readonly Uint8Array[] = [],
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const alive = [args, memory];
    const start = () => {
      inFlight.add(alive);
      entry.async(...args, (error: unknown, result: unknown) => {
        inFlight.delete(alive);
        waiting.shift()?.();
        if (error !== null && error !== undefined) reject(error);
        else resolve(result);
      });
    };
    if (inFlight.size < most) start();
    else waiting.push(start);
  });
}
