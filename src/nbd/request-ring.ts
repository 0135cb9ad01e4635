/** What a client asked of bytes: to have them, or to change them (by writing, zeroing or trimming). */
export type Access = 'read' | 'write';

/** Takes a request: bytes from the start of the export; `time` in milliseconds since the epoch. */
export type TakeRequest = (access: Access, offset: number, length: number, time: number) => void;

/** Requests that may wait for their reader: at 100,000 a second, for a sixth of one. */
const capacity = 1 << 14;
const mask = capacity - 1;

/**
 * Places in the control words: the next slot to fill, the next to read, whether the reader has been told, whether nobody
 * waits for room any more, and how many found none since.
 */
const tail = 0;
const head = 1;
const told = 2;
const ending = 3;
const missed = 4;
const controls = 6;

/** Of a slot: offset, length (negative: a write), time. */
const numbers = 3;
const size = (controls + capacity) * 4 + capacity * numbers * 8;

/** Milliseconds between two looks whether there is room. */
const patience = 100;

/**
 * The requests of an export's clients on their way to the one who watches them, from whichever threads serve them. Noting
 * one takes no lock and no system call. When the reader is behind, those who note wait: nothing is lost, but at the end.
 *
 * A bounded queue in which each slot counts the rounds that it has seen (Dmitry Vyukov's, with one consumer).
 */
export class RequestRing {
  readonly #control: Int32Array;
  readonly #rounds: Int32Array;
  readonly #slots: Float64Array;

  /**
   * @param wake called where there is something to read, once until it is read
   * @param full called when there is no room; returns when there may be
   */
  private constructor(
    readonly memory: SharedArrayBuffer,
    readonly wake: () => void,
    private readonly full: () => void,
  ) {
    this.#control = new Int32Array(memory, 0, controls);
    this.#rounds = new Int32Array(memory, controls * 4, capacity);
    this.#slots = new Float64Array(memory, (controls + capacity) * 4, capacity * numbers);
  }

  /** For the thread that reads, which cannot wait for itself: `full` has to read. */
  static create(wake: () => void, full: () => void): RequestRing {
    const ring = new RequestRing(new SharedArrayBuffer(size), wake, full);
    for (let slot = 0; slot < capacity; slot++) ring.#rounds[slot] = slot;
    return ring;
  }

  /** For another thread. */
  static over(memory: SharedArrayBuffer, wake: () => void): RequestRing {
    const ring: RequestRing = new RequestRing(memory, wake, () => {
      wake();
      const read = Atomics.load(ring.#control, head);
      const waiting = (Atomics.load(ring.#control, tail) - read) | 0;
      if (waiting >= capacity) Atomics.wait(ring.#control, head, read, patience);
    });
    return ring;
  }

  /** @param offset and `length`: bytes below 2^53 */
  note(access: Access, offset: number, length: number): void {
    const time = performance.timeOrigin + performance.now();
    for (;;) {
      const at = Atomics.load(this.#control, tail);
      const slot = at & mask;
      const ahead = (Atomics.load(this.#rounds, slot) - at) | 0;
      if (ahead < 0) {
        if (Atomics.load(this.#control, ending) === 1) {
          Atomics.add(this.#control, missed, 1);
          return;
        }
        this.full();
      } else if (ahead === 0 && Atomics.compareExchange(this.#control, tail, at, (at + 1) | 0) === at) {
        this.#slots[slot * numbers] = offset;
        this.#slots[slot * numbers + 1] = access === 'write' ? -length : length;
        this.#slots[slot * numbers + 2] = time;
        Atomics.store(this.#rounds, slot, (at + 1) | 0);
        break;
      }
    }
    if (Atomics.load(this.#control, told) === 0 && Atomics.exchange(this.#control, told, 1) === 0) this.wake();
  }

  /** From now on nobody waits for room: what finds none is counted. */
  letGo(): void {
    Atomics.store(this.#control, ending, 1);
    Atomics.notify(this.#control, head);
  }

  /** Requests that found no room. */
  get missed(): number {
    return Atomics.load(this.#control, missed);
  }

  /**
   * Gives what has been noted to `take`, in the order in which it was. For one thread alone.
   *
   * @param goOn asked after each request; those who note may be as fast as `take`, so that there is no end otherwise
   * @returns whether `goOn` ended it
   */
  drain(take: TakeRequest, goOn: () => boolean = always): boolean {
    Atomics.store(this.#control, told, 0);
    let at = Atomics.load(this.#control, head);
    let ended = false;
    for (;;) {
      const slot = at & mask;
      if (Atomics.load(this.#rounds, slot) !== ((at + 1) | 0)) break;
      const offset = this.#slots[slot * numbers] ?? 0;
      const length = this.#slots[slot * numbers + 1] ?? 0;
      const time = this.#slots[slot * numbers + 2] ?? 0;
      Atomics.store(this.#rounds, slot, (at + capacity) | 0);
      at = (at + 1) | 0;
      Atomics.store(this.#control, head, at);
      // Somebody may wait for room: not told for each slot, since most of the time nobody does.
      if ((at & (mask >> 2)) === 0) Atomics.notify(this.#control, head);
      take(length < 0 ? 'write' : 'read', offset, Math.abs(length), time);
      ended = !goOn();
      if (ended) break;
    }
    Atomics.notify(this.#control, head);
    return ended;
  }
}

function always(): boolean {
  return true;
}
