/**
 * Memory for payloads, used again and again: fresh memory costs a page fault for each 4 KiB. Small pieces are cut one
 * after the other from slabs, so that replies made in a row lie in a row, and leave in one write; replies without data
 * from slabs of their own, so that the payloads of writes do not lie between them.
 */

/** Bytes. */
const largestBare = 64;
const bareSlab = 64 << 10;
const largestSmall = 64 << 10;
const smallSlab = 1 << 20;
/** Slabs of a kind that are kept for later. */
const idleSlabs = 4;
/** Bytes of large buffers kept for later: one of the largest, which the garbage collector would be slow to free. */
const keptLimit = (32 << 20) + (1 << 20);
/** Room beside a power of two for the headers of a reply. */
const headerRoom = 64;

/** A part of a host file, in bytes. */
export interface FilePart {
  readonly fd: number;
  readonly offset: bigint;
  readonly length: number;
}

/** A piece of memory: given back once, and not touched after that. */
export interface Lease {
  readonly bytes: Buffer;
  /** What is to be sent after `bytes`, straight from a file; only for who takes such replies. */
  readonly file?: FilePart | undefined;
  release(): void;
}

/** Pieces of memory cut one after the other. */
class Slabs {
  #slab: Slab;
  readonly #idle: Slab[] = [];

  /** @param size bytes of each */
  constructor(private readonly size: number) {
    this.#slab = new Slab(size);
  }

  take(size: number): Lease {
    if (this.#slab.used + size > this.size) this.#slab = this.#idle.pop() ?? new Slab(this.size);
    const slab = this.#slab;
    const start = slab.used;
    slab.used += size;
    slab.leased++;
    return {
      bytes: slab.memory.subarray(start, start + size),
      release: () => {
        if (--slab.leased > 0) return;
        slab.used = 0;
        if (slab !== this.#slab && this.#idle.length < idleSlabs) this.#idle.push(slab);
      },
    };
  }
}

class Slab {
  readonly memory: Buffer;
  used = 0;
  leased = 0;

  constructor(size: number) {
    this.memory = Buffer.allocUnsafeSlow(size);
  }
}

export class BufferPool {
  readonly #bare = new Slabs(bareSlab);
  readonly #small = new Slabs(smallSlab);
  readonly #large = new Map<number, Buffer[]>();
  #kept = 0;

  take(size: number): Lease {
    if (size > largestSmall) return this.#takeLarge(size);
    return (size > largestBare ? this.#small : this.#bare).take(size);
  }

  #takeLarge(size: number): Lease {
    const room = 2 ** Math.ceil(Math.log2(size - headerRoom)) + headerRoom;
    const memory = this.#large.get(room)?.pop();
    if (memory !== undefined) this.#kept -= room;
    const whole = memory ?? Buffer.allocUnsafeSlow(room);
    return {
      bytes: whole.subarray(0, size),
      release: () => {
        if (this.#kept + room > keptLimit) return;
        this.#kept += room;
        const same = this.#large.get(room);
        if (same === undefined) this.#large.set(room, [whole]);
        else same.push(whole);
      },
    };
  }
}

/** The two as one piece of memory when the second begins where the first ends. */
export function joined(a: Buffer, b: Buffer): Buffer | undefined {
  return a.buffer === b.buffer && a.byteOffset + a.length === b.byteOffset
    ? Buffer.from(a.buffer, a.byteOffset, a.length + b.length)
    : undefined;
}
