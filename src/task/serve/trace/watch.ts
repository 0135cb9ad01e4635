import { setImmediate as nextTurn } from 'node:timers/promises';
import { RequestRing, type TakeRequest } from '../../../nbd/index.js';
import type { TaskContext } from '../../context.js';
import type { Tracer } from './tracer.js';

/** Milliseconds from a request to its line, at most: many requests are taken at once, since each time costs. */
const delay = 25;
/** Milliseconds without a request after which a run is told. */
const silence = 1000;
/** Milliseconds that requests are taken for before others have their turn: signals, new clients, the lines that wait. */
const slice = 10;
/** Milliseconds for what is left at the end. */
const grace = 10_000;

/** Has a tracer take what an export's clients ask, from whichever threads serve them, off the way of the requests. */
export class Watch {
  readonly requests = RequestRing.create(
    () => {
      this.#timer ??= setTimeout(() => this.#drain(), delay);
    },
    () => this.#drain(),
  );
  #timer: NodeJS.Timeout | undefined;
  #next: NodeJS.Immediate | undefined;
  #idle: NodeJS.Timeout | undefined;
  #failed = false;
  #untraced = 0;
  #told = 0;

  constructor(
    readonly tracer: Tracer,
    private readonly context: TaskContext = {},
  ) {}

  /** Takes what is left, as far as there is time for it, once no client is left. May be called again. */
  async end(): Promise<void> {
    const late = performance.now() + grace;
    while (this.#takeSome() && performance.now() < late) await nextTurn();
    this.requests.drain(() => this.#untraced++);
    this.#flush();
    clearTimeout(this.#timer);
    clearTimeout(this.#idle);
    clearImmediate(this.#next);
    this.#timer = undefined;
    this.#idle = undefined;
    this.#next = undefined;
    const untraced = this.#untraced + this.requests.missed;
    if (untraced === this.#told) return;
    this.#told = untraced;
    this.context.onWarning?.(`${untraced} of the last requests are not in the trace: they came faster than it is made`);
  }

  #drain(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#takeSome()) {
      this.#next ??= setImmediate(() => {
        this.#next = undefined;
        this.#drain();
      });
    }
    if (!this.tracer.tellsLate) return;
    this.#idle ??= setTimeout(() => {
      this.#idle = undefined;
      this.#flush();
    }, silence);
    this.#idle.refresh();
  }

  /** @returns whether there may be more */
  #takeSome(): boolean {
    const until = performance.now() + slice;
    return this.requests.drain(this.#take, () => performance.now() < until);
  }

  readonly #take: TakeRequest = (access, offset, length, time) => {
    if (this.#failed) return;
    try {
      this.tracer.take(access, offset, length, time);
    } catch (error) {
      this.#fail(error);
    }
  };

  #flush(): void {
    if (this.#failed) return;
    try {
      this.tracer.flush();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A guest goes on whose trace cannot. */
  #fail(error: unknown): void {
    this.#failed = true;
    this.context.onWarning?.(`the trace ends: ${error instanceof Error ? error.message : String(error)}`);
  }
}
