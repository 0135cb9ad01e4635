import { done } from '../device/block-device.js';
import { RequestBuffer } from './request-buffer.js';
import type { Session } from './session.js';

/** Requests that are answered at the same time: further ones stay with the kernel. */
const mostAtOnce = 128;
/** Turns of the event loop without a request before it goes to sleep. */
const turns = 50;

/** Takes requests on a thread that goes on with others while one is waited for. */
export class ConcurrentLoop {
  readonly #free: RequestBuffer[] = [];
  #atOnce = 0;
  #looking = false;
  #ended = false;

  /**
   * @param arm asks that `look` be called once there is something to read
   * @param unmounted called once
   */
  constructor(
    private readonly fd: number,
    private readonly session: Session,
    private readonly arm: () => void,
    private readonly unmounted: (error?: unknown) => void,
  ) {}

  /** There may be something to read. */
  look(): void {
    if (this.#looking || this.#ended) return;
    this.#looking = true;
    this.#turn(turns);
  }

  /** Reads nothing more from the descriptor, which may soon be another file's. */
  end(): void {
    this.#ended = true;
  }

  #turn(left: number): void {
    if (this.#ended) return;
    let found = false;
    try {
      found = this.#takeAll();
    } catch (error) {
      this.#unmounted(error);
    }
    if (this.#ended) return;
    if (this.#atOnce === mostAtOnce) this.#looking = false;
    else if (found || left > 0) setImmediate(() => this.#turn(found ? turns : left - 1));
    else {
      this.#looking = false;
      this.arm();
    }
  }

  /** Returns whether there were any. */
  #takeAll(): boolean {
    for (let found = false; ; found = true) {
      if (this.#atOnce === mostAtOnce) return found;
      const buffer = this.#free.pop() ?? new RequestBuffer();
      const taken = buffer.take(this.fd);
      if (typeof taken !== 'number') {
        this.#free.push(buffer);
        if (taken === 'unmounted') this.#unmounted();
        return found;
      }
      const answered = this.session.answer(buffer);
      if (answered === done) this.#free.push(buffer);
      else this.#wait(buffer, answered);
    }
  }

  #wait(buffer: RequestBuffer, answered: Promise<void>): void {
    this.#atOnce++;
    void answered.then(() => {
      this.#free.push(buffer);
      if (this.#atOnce-- === mostAtOnce) this.look();
    });
  }

  #unmounted(error?: unknown): void {
    this.#ended = true;
    this.unmounted(error);
  }
}
