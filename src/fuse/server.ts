import { availableParallelism } from 'node:os';
import type { BlockDevice } from '../device/block-device.js';
import { describePlain, type PlainDevice } from '../device/plain-device.js';
import { DiskError } from '../error/disk-error.js';
import { compiledFile } from '../host/compiled.js';
import { NativeThread } from '../host/native-thread.js';
import { Alarm } from '../host/readiness.js';
import type { Owner } from './attributes.js';
import { ConcurrentLoop } from './concurrent-loop.js';
import { control as places, type WatcherOrders, type WorkerOrders } from './messages.js';
import { Session } from './session.js';
import { ShownFile } from './shown-file.js';
import { type Placed, Tree } from './tree.js';

/** Threads that answer for plain files: each takes some 9 MB. */
const mostWorkers = Math.max(2, Math.min(availableParallelism(), 4));

/** A disk that is shown as a file. */
export interface Shown {
  readonly device: BlockDevice;
  readonly readOnly: boolean;
}

/** Answers the kernel for one mount, from its INIT on until it is unmounted or this is stopped. */
export class FuseServer {
  readonly #alarm = new Alarm();
  readonly #control = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
  readonly #threads: NativeThread[];
  /** That of this thread, where the files are more than bytes of host files. */
  readonly #session: Session | undefined;
  readonly #loop: ConcurrentLoop | undefined;
  /** Resolves once nothing of it runs any more; rejects with what went wrong with it. */
  readonly ended: Promise<void>;

  /**
   * @param fd of /dev/fuse, which does not wait; INIT has been answered. Stays the caller's
   * @param files whose devices must stay open until it has ended
   */
  constructor(fd: number, files: readonly Placed<Shown>[], owner: Owner) {
    const common = { fd, alarm: this.#alarm.fd, control: this.#control };
    const plain = allPlain(files);
    let failed: (error: unknown) => void = () => {};
    const failure = new Promise<never>((_, reject) => {
      failed = reject;
    });
    if (plain === undefined) {
      const tree = new Tree(files.map(({ path, file }) => ({ path, file: new ShownFile(file.device, file.readOnly) })));
      const watcher = this.#start('watcher.js', common);
      const unmounted = (error?: unknown) => {
        if (error !== undefined) failed(error);
        this.#stopThreads();
      };
      this.#session = new Session(fd, tree, owner, true);
      const loop = new ConcurrentLoop(fd, this.#session, () => this.#arm(), unmounted);
      this.#loop = loop;
      watcher.worker.on('message', () => loop.look());
      loop.look();
      this.#threads = [watcher];
    } else {
      const orders: WorkerOrders = { ...common, files: plain, owner };
      this.#threads = Array.from({ length: mostWorkers }, () => this.#start('worker.js', orders));
    }
    this.ended = Promise.race([this.#allEnded(), failure]);
    // Whoever waits for it later hears of it all the same.
    this.ended.catch(() => {});
  }

  /** Stops answering: what is being answered is. The mount is dead once its descriptor is closed. */
  async stop(): Promise<void> {
    this.#stopThreads();
    await this.ended.catch(() => {});
  }

  async #allEnded(): Promise<void> {
    const thrown = await Promise.all(
      this.#threads.map(async (thread) => {
        const error = await thread.ended;
        // One that failed ends the others, or they would hide it.
        this.#stopThreads();
        return error;
      }),
    );
    this.#alarm[Symbol.dispose]();
    const cause = thrown.find((error) => error !== undefined);
    if (cause !== undefined) throw new DiskError('IO', `a thread that answers the kernel: ${cause.message}`, { cause });
  }

  #start(file: string, orders: WorkerOrders | WatcherOrders): NativeThread {
    return new NativeThread(compiledFile(import.meta.url, file), orders, {
      name: 'fuse',
      wake: () => this.#alarm.ring(),
    });
  }

  #arm(): void {
    Atomics.store(this.#control, places.armed, 1);
    Atomics.notify(this.#control, places.armed);
  }

  #stopThreads(): void {
    this.#loop?.end();
    this.#session?.close();
    Atomics.store(this.#control, places.stop, 1);
    this.#arm();
    this.#alarm.ring();
  }
}

/** The files as other threads can open them, or undefined when one of them is more than bytes of a host file. */
function allPlain(files: readonly Placed<Shown>[]): WorkerOrders['files'] | undefined {
  const plain: Placed<{ plain: PlainDevice; readOnly: boolean }>[] = [];
  for (const { path, file } of files) {
    const described = describePlain(file.device);
    if (described === undefined) return undefined;
    plain.push({ path, file: { plain: described, readOnly: file.readOnly } });
  }
  return plain;
}
