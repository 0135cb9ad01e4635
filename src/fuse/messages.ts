import type { PlainDevice } from '../device/plain-device.js';
import type { Owner } from './attributes.js';
import type { Placed } from './tree.js';

/** What the main thread and those that it starts are told. Descriptors belong to the whole process: numbers will do. */

/** Places in the memory that they share. */
export const control = {
  /** 1 once all of them are to end. */
  stop: 0,
  /** 1 while the main thread wants to be told that there is something to read. */
  armed: 1,
} as const;

interface Common {
  /** Of /dev/fuse. */
  readonly fd: number;
  /** Of the alarm that wakes who waits there. */
  readonly alarm: number;
  readonly control: Int32Array<SharedArrayBuffer>;
}

/** For a thread that answers requests itself. */
export interface WorkerOrders extends Common {
  readonly files: readonly Placed<{ readonly plain: PlainDevice; readonly readOnly: boolean }>[];
  readonly owner: Owner;
}

/** For a thread that tells the main thread when there are some. */
export type WatcherOrders = Common;
