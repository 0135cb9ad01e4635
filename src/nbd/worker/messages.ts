import type { PlainDevice } from '../../device/plain-device.js';
import type { ReplyStyle } from '../export.js';

/** What the main thread and a worker tell each other. Descriptors belong to the whole process, so numbers will do. */

/** A connection whose handshake is over: the worker owns its socket from now on, and borrows the device's file. */
export interface Handover {
  readonly id: number;
  readonly socket: number;
  readonly device: PlainDevice;
  readonly readOnly: boolean;
  readonly style: ReplyStyle;
  readonly allocation: boolean;
  /** What the client has said already after the handshake. */
  readonly rest: Uint8Array;
  /** The memory of the ring in which the export's requests are noted. */
  readonly requests?: SharedArrayBuffer | undefined;
}

export type ToWorker =
  | { readonly type: 'serve'; readonly connection: Handover }
  /** Answer what has been received and hang up, after `grace` milliseconds at the latest. */
  | { readonly type: 'finish'; readonly id: number; readonly grace: number };

export type FromWorker =
  /** The connection is closed, and nothing of it runs any more. */
  | { readonly closed: number }
  /** The ring of that connection's export has something in it. */
  | { readonly noted: number };
