import { max, min, roundDown, roundUp } from './convert.js';

/** A half-open range of bytes. */
export interface Range {
  /** Bytes from the start of the thing that is meant. */
  readonly offset: bigint;
  readonly length: bigint;
}

/**
 * A set of bytes as ascending, disjoint, never touching half-open ranges. Immutable; every operation on two sets is one
 * merge over both, and a look at a part of one is a binary search. The bounds lie in one typed array, so a set of a million
 * ranges takes 16 MB.
 */
export class RangeSet implements Iterable<Range> {
  static readonly empty = new RangeSet(new BigInt64Array(0));

  /** start, end, start, end, … */
  readonly #bounds: BigInt64Array;

  private constructor(bounds: BigInt64Array) {
    this.#bounds = bounds;
  }

  /** The union of ranges in any order; empty ones count for nothing. */
  static of(ranges: Iterable<Range>): RangeSet {
    const builder = new RangeSetBuilder();
    for (const { offset, length } of ranges) builder.add(offset, length);
    return builder.finish();
  }

  /** @internal Takes over bounds that are already ascending and disjoint. */
  static fromBounds(bounds: BigInt64Array): RangeSet {
    return bounds.length === 0 ? RangeSet.empty : new RangeSet(bounds);
  }

  /** How many ranges. */
  get count(): number {
    return this.#bounds.length / 2;
  }

  /** How many bytes. */
  get total(): bigint {
    let total = 0n;
    for (const { length } of this) total += length;
    return total;
  }

  *[Symbol.iterator](): Iterator<Range> {
    for (let i = 0; i < this.#bounds.length; i += 2) {
      const start = this.#at(i);
      yield { offset: start, length: this.#at(i + 1) - start };
    }
  }

  union(other: RangeSet): RangeSet {
    return this.#merge(other, (a, b) => a || b);
  }

  intersect(other: RangeSet): RangeSet {
    return this.#merge(other, (a, b) => a && b);
  }

  subtract(other: RangeSet): RangeSet {
    return this.#merge(other, (a, b) => a && !b);
  }

  /** The bytes of [offset, offset + length) that are not in the set. */
  complement(offset: bigint, length: bigint): RangeSet {
    return RangeSet.of([{ offset, length }]).subtract(this.clip(offset, length));
  }

  /** The part inside [offset, offset + length). */
  clip(offset: bigint, length: bigint): RangeSet {
    return RangeSet.of(this.within(offset, length));
  }

  /** The same, one range at a time: whoever stops early has paid for no more. */
  *within(offset: bigint, length: bigint): Generator<Range, void, undefined> {
    const end = offset + length;
    const first = this.#boundsUpTo(offset);
    for (let i = first - (first % 2); i < this.#bounds.length && this.#at(i) < end; i += 2) {
      const start = max(this.#at(i), offset);
      yield { offset: start, length: min(this.#at(i + 1), end) - start };
    }
  }

  /** The run from `offset` up to `end` at most whose bytes are all in the set, or all not. */
  run(offset: bigint, end: bigint): { readonly end: bigint; readonly inside: boolean } {
    const next = this.#boundsUpTo(offset);
    const stop = next === this.#bounds.length ? end : min(this.#at(next), end);
    return { end: stop, inside: next % 2 === 1 };
  }

  /** True when a byte of [offset, offset + length) is in the set. */
  touches(offset: bigint, length: bigint): boolean {
    if (length <= 0n) return false;
    const { end, inside } = this.run(offset, offset + length);
    return inside || end < offset + length;
  }

  /** The same bytes, `delta` further on. */
  shift(delta: bigint): RangeSet {
    return RangeSet.fromBounds(this.#bounds.map((bound) => checkBound(bound + delta)));
  }

  /** Whole blocks only: each range shrinks to multiples of `block`, and vanishes when it holds none. */
  roundInwards(block: bigint): RangeSet {
    const builder = new RangeSetBuilder();
    for (const { offset, length } of this) {
      const start = roundUp(offset, block);
      builder.add(start, max(0n, roundDown(offset + length, block) - start));
    }
    return builder.finish();
  }

  /** The ranges of at least `length` bytes. */
  atLeast(length: bigint): RangeSet {
    const builder = new RangeSetBuilder();
    for (const range of this) if (range.length >= length) builder.add(range.offset, range.length);
    return builder.finish();
  }

  /** True when the byte at `offset` is in the set. */
  has(offset: bigint): boolean {
    return this.#boundsUpTo(offset) % 2 === 1;
  }

  /** How many bounds lie at or before a byte: odd when a range holds it. */
  #boundsUpTo(offset: bigint): number {
    let low = 0;
    let high = this.#bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#at(middle) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #at(i: number): bigint {
    const bound = this.#bounds[i];
    if (bound === undefined) throw new RangeError(`bound ${i} of ${this.#bounds.length}`);
    return bound;
  }

  /** Sweeps over the bounds of both: inside each set or not, what is kept is what `keep` says. */
  #merge(other: RangeSet, keep: (inThis: boolean, inOther: boolean) => boolean): RangeSet {
    const builder = new RangeSetBuilder();
    const mine = this.#bounds.length;
    const theirs = other.#bounds.length;
    let i = 0;
    let j = 0;
    let start: bigint | undefined;
    while (i < mine || j < theirs) {
      const here = i === mine ? other.#at(j) : j === theirs ? this.#at(i) : min(this.#at(i), other.#at(j));
      if (i < mine && this.#at(i) === here) i++;
      if (j < theirs && other.#at(j) === here) j++;
      const inside = keep(i % 2 === 1, j % 2 === 1);
      if (inside && start === undefined) start = here;
      if (!inside && start !== undefined) {
        builder.add(start, here - start);
        start = undefined;
      }
    }
    return builder.finish();
  }
}

/** Collects ranges for a set: cheapest when they come in ascending order. */
export class RangeSetBuilder {
  #bounds = new BigInt64Array(64);
  #used = 0;
  #ascending = true;

  /** @throws {RangeError} when the range leaves 0 … 2^63 - 1: whoever adds it has checked what the disk says */
  add(offset: bigint, length: bigint): this {
    if (length <= 0n) return this;
    checkBound(offset);
    checkBound(offset + length);
    const last = this.#used === 0 ? undefined : this.#bounds[this.#used - 1];
    if (last !== undefined && offset <= last) {
      const lastStart = this.#bounds[this.#used - 2];
      if (lastStart !== undefined && offset >= lastStart) {
        this.#bounds[this.#used - 1] = max(last, offset + length);
        return this;
      }
      this.#ascending = false;
    }
    if (this.#used === this.#bounds.length) {
      const grown = new BigInt64Array(this.#bounds.length * 2);
      grown.set(this.#bounds);
      this.#bounds = grown;
    }
    this.#bounds[this.#used++] = offset;
    this.#bounds[this.#used++] = offset + length;
    return this;
  }

  finish(): RangeSet {
    const bounds = this.#bounds.slice(0, this.#used);
    return RangeSet.fromBounds(this.#ascending ? bounds : sortAndJoin(bounds));
  }
}

const largest = 2n ** 63n - 1n;

/** A typed array would keep the low 64 bits of anything, without a word. */
function checkBound(bound: bigint): bigint {
  if (bound < 0n || bound > largest) throw new RangeError(`byte ${bound} lies outside 0 to 2^63 - 1`);
  return bound;
}

/**
 * The union of half-open ranges, by their starts and their ends, each sorted alone: where as many have ended as have begun,
 * and the next begins later, there is a gap.
 */
function sortAndJoin(bounds: BigInt64Array): BigInt64Array {
  const starts = bounds.filter((_, i) => i % 2 === 0).sort();
  const ends = bounds.filter((_, i) => i % 2 === 1).sort();
  const joined = new BigInt64Array(bounds.length);
  let used = 0;
  for (const [i, start] of starts.entries()) {
    const before = ends[i - 1];
    if (before === undefined || start > before) joined[used++] = start;
    const [end, next] = [ends[i], starts[i + 1]];
    if (end !== undefined && (next === undefined || next > end)) joined[used++] = end;
  }
  return joined.slice(0, used);
}
