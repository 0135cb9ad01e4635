import { availableParallelism } from 'node:os';
import type koffi from 'koffi';
import { enterNative, leaveNative } from './native-gate.js';

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

/** What goes with a call, and is no argument of it. */
export interface Surroundings<Result> {
  /** What the function reaches by addresses: stays alive until it has returned. */
  readonly memory?: readonly Uint8Array[];
  /** Looks at the result while errno is still that of the call; what it throws is what the call rejects with. */
  readonly check?: (result: Result) => void;
}

/**
 * Calls a function on one of koffi's threads, of which there are as many as cores. The arguments stay alive until it has
 * returned.
 */
export function callOnThread<Result = unknown>(
  entry: Entry,
  args: readonly unknown[],
  { memory = [], check }: Surroundings<Result> = {},
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const alive = [args, memory];
    const ended = () => {
      inFlight.delete(alive);
      waiting.shift()?.();
    };
    const settle = (error: unknown, result: Result) => {
      try {
        if (error !== null && error !== undefined) throw error;
        // koffi restores the call's own errno for the length of this callback.
        check?.(result);
        resolve(result);
      } catch (failure) {
        reject(failure);
      }
      ended();
    };
    const start = () => {
      inFlight.add(alive);
      enterNative();
      try {
        entry.async(...args, settle);
      } catch (error) {
        reject(error);
        ended();
      } finally {
        leaveNative();
      }
    };
    if (inFlight.size < most) start();
    else waiting.push(start);
  });
}
