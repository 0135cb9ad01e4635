import { RequestRing } from '../../../nbd/index.js';
import type { Tracer } from './tracer.js';

/** Milliseconds from a request to its line, at most: many requests are taken at once, since each time costs. */
const delay = 25;
/** Milliseconds without a request after which a run is told. */
const silence = 1000;

/** Has a tracer take what an export's clients ask, from whichever threads serve them, off the way of the requests. */
export class Watch {
  readonly requests = RequestRing.create(
    () => {
      this.#timer ??= setTimeout(() => this.#drain(), delay);
    },
    () => this.#drain(),
  );
  #timer: NodeJS.Timeout | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(readonly tracer: Tracer) {}

  /** Takes what is left, once no client is left. May be called again. */
  end(): void {
    this.#drain();
    this.tracer.flush();
    clearTimeout(this.#idle);
    this.#idle = undefined;
  }

  #drain(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.requests.drain(this.tracer.take);
    if (!this.tracer.tellsLate) return;
    this.#idle ??= setTimeout(() => {
      this.#idle = undefined;
      this.tracer.flush();
    }, silence);
    this.#idle.refresh();
  }
}
