const nothing: Buffer = Buffer.alloc(0);

/** Bytes as they arrive, in chunks of any size, taken out as the protocol needs them. */
export class InputBuffer {
  #chunks: Buffer[] = [];
  #first = nothing;
  #length = 0;

  /** Bytes. */
  get length(): number {
    return this.#length;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    if (this.#length === 0) this.#first = chunk;
    else this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The next `size` bytes in one piece, or undefined while they are not all there. Copies only across chunks. */
  take(size: number): Buffer | undefined {
    if (this.#length < size) return undefined;
    if (this.#first.length >= size) {
      const taken = this.#first.subarray(0, size);
      this.#consume(size);
      return taken;
    }
    const taken = Buffer.allocUnsafe(size);
    this.moveTo(taken);
    return taken;
  }

  /** Moves what is there to the start of `target`. Returns bytes. */
  moveTo(target: Buffer): number {
    let moved = 0;
    while (moved < target.length && this.#length > 0) {
      const count = Math.min(this.#first.length, target.length - moved);
      this.#first.copy(target, moved, 0, count);
      this.#consume(count);
      moved += count;
    }
    return moved;
  }

  /** Drops at most `size` bytes. Returns how many. */
  skip(size: number): number {
    let skipped = 0;
    while (skipped < size && this.#length > 0) {
      const count = Math.min(this.#first.length, size - skipped);
      this.#consume(count);
      skipped += count;
    }
    return skipped;
  }

  /** What is left is copied, so that the chunk that was pushed last is free for others. */
  keep(): void {
    if (this.#length === 0) return;
    const last = this.#chunks.length - 1;
    if (last === -1) this.#first = Buffer.from(this.#first);
    else this.#chunks[last] = Buffer.from(this.#chunks[last] ?? nothing);
  }

  clear(): void {
    this.#chunks = [];
    this.#first = nothing;
    this.#length = 0;
  }

  #consume(count: number): void {
    this.#length -= count;
    this.#first = this.#first.length === count ? (this.#chunks.shift() ?? nothing) : this.#first.subarray(count);
  }
}
