import { max, min } from './convert.js';
import { type Range, RangeSet, RangeSetBuilder } from './range-set.js';

/**
 * A run of a volume's bytes. They go round its areas, `stripeSize` bytes in each at a time; with one area they lie in a
 * row.
 */
export interface Segment {
  /** Bytes: a whole number of stripes for each area, where there are several. */
  readonly length: bigint;
  /** Bytes, at least 1; without meaning where there is one area. */
  readonly stripeSize: bigint;
  /** Where each area begins, in bytes from the start of the disk; each is `length` divided by their count long. */
  readonly areas: readonly bigint[];
}

/** A run of an area, in bytes from the start of the disk. */
export interface AreaRun extends Range {
  /** Where a byte of it is, from the start of the volume. */
  readonly inVolume: (at: bigint) => bigint;
  /** How many bytes from there on lie in a row in the volume too. */
  readonly runAt: (at: bigint) => bigint;
}

interface Placed extends Segment {
  /** Bytes from the start of the volume. */
  readonly start: bigint;
}

/**
 * Where the bytes of a volume lie on its disk: one place for a partition, segments and stripes for a logical volume.
 * Immutable. Whatever is asked costs time by the number of segments and areas, not of stripes; {@link locate} alone goes
 * by those that the range has.
 */
export class Placement {
  readonly #segments: readonly Placed[];
  /** Bytes of the volume. */
  readonly size: bigint;

  /**
   * @param segments in the order of the volume's bytes; it begins with the first
   * @throws {RangeError} for a segment that no volume has: whoever makes one has checked what the disk says
   */
  constructor(segments: readonly Segment[]) {
    let start = 0n;
    this.#segments = segments.map((segment) => {
      const { length, stripeSize, areas } = segment;
      const round = stripeSize * BigInt(areas.length);
      if (length <= 0n || round <= 0n || (areas.length > 1 && length % round !== 0n)) {
        throw new RangeError(`a segment of ${length} bytes in ${areas.length} stripes of ${stripeSize}`);
      }
      const placed = { ...segment, start };
      start += length;
      return placed;
    });
    this.size = start;
  }

  /** One place. */
  static at(offset: bigint, length: bigint): Placement {
    return new Placement(length === 0n ? [] : [{ length, stripeSize: 1n, areas: [offset] }]);
  }

  /** Where it begins on the disk, when all of it lies in a row; undefined when it does not. */
  get offset(): bigint | undefined {
    const [first, ...others] = this.#segments;
    if (first === undefined) return 0n;
    const [area, ...stripes] = first.areas;
    if (area === undefined || stripes.length > 0) return undefined;
    const inRow = others.every(({ start, areas }) => areas.length === 1 && areas[0] === area + start);
    return inRow ? area : undefined;
  }

  /** The bytes of the disk that hold these bytes of the volume. */
  toDisk(bytes: RangeSet): RangeSet {
    const builder = new RangeSetBuilder();
    for (const { offset, length } of bytes) {
      const end = min(offset + length, this.size);
      for (let at = offset; at < end; at = this.segmentEnd(at)) {
        for (const run of this.areasAt(at, end - at)) builder.add(run.offset, run.length);
      }
    }
    return builder.finish();
  }

  /** Of bytes of the disk those that are the volume's, in bytes from its start. */
  fromDisk(bytes: RangeSet): RangeSet {
    const builder = new RangeSetBuilder();
    for (const { start, length } of this.#segments) {
      for (const area of this.areasAt(start, length)) {
        for (const piece of bytes.within(area.offset, area.length)) {
          const end = piece.offset + piece.length;
          for (let at = piece.offset; at < end; ) {
            const run = min(area.runAt(at), end - at);
            builder.add(area.inVolume(at), run);
            at += run;
          }
        }
      }
    }
    return builder.finish();
  }

  /** All bytes of the disk that are the volume's. */
  get all(): RangeSet {
    return this.toDisk(RangeSet.of([{ offset: 0n, length: this.size }]));
  }

  /** The bytes of the disk that hold a range of the volume, in the order of the volume, in runs as long as they are. */
  *locate(offset: bigint, length: bigint): Generator<Range, void, undefined> {
    const end = min(offset + length, this.size);
    let pending: Range | undefined;
    for (let at = offset, i = this.#segmentOf(offset); at < end; i++) {
      const segment = this.#segments[i];
      if (segment === undefined) return;
      for (const piece of piecesOf(segment, at, min(end, segment.start + segment.length))) {
        if (pending !== undefined && pending.offset + pending.length === piece.offset) {
          pending = { offset: pending.offset, length: pending.length + piece.length };
        } else {
          if (pending !== undefined) yield pending;
          pending = piece;
        }
        at += piece.length;
      }
    }
    if (pending !== undefined) yield pending;
  }

  /**
   * The runs of the disk that hold a range of the volume, one for each area of the segment that it begins in, and no
   * further than that segment.
   */
  areasAt(offset: bigint, length: bigint): AreaRun[] {
    const segment = this.#segments[this.#segmentOf(offset)];
    if (segment === undefined) return [];
    const { start, stripeSize, areas } = segment;
    const from = offset - start;
    const to = min(from + length, segment.length);
    const runs = areas.map((area, i): AreaRun => {
      const first = inArea(segment, i, from);
      const inVolume = (at: bigint) =>
        areas.length === 1
          ? start + at - area
          : start +
            ((at - area) / stripeSize) * stripeSize * BigInt(areas.length) +
            BigInt(i) * stripeSize +
            ((at - area) % stripeSize);
      const runAt = (at: bigint) =>
        areas.length === 1 ? area + segment.length - at : stripeSize - ((at - area) % stripeSize);
      return { offset: area + first, length: inArea(segment, i, to) - first, inVolume, runAt };
    });
    return runs.filter((run) => run.length > 0n);
  }

  /** Where the segment that holds byte `offset` of the volume ends, in bytes from the start of the volume. */
  segmentEnd(offset: bigint): bigint {
    const { start, length } = this.#segments[this.#segmentOf(offset)] ?? { start: 0n, length: this.size };
    return start + length;
  }

  /** The last segment that does not begin behind `offset`. */
  #segmentOf(offset: bigint): number {
    let low = 0;
    let high = this.#segments.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      const { start = offset } = this.#segments[middle] ?? {};
      if (start <= offset) low = middle;
      else high = middle;
    }
    return low;
  }
}

/**
 * How many bytes of area `i` lie before byte `from` of the segment. It never falls as `from` grows, so a run of the
 * segment is a run of each of its areas.
 */
function inArea({ stripeSize, areas }: Segment, i: number, from: bigint): bigint {
  if (areas.length === 1) return from;
  const round = stripeSize * BigInt(areas.length);
  const inRound = (from % round) - stripeSize * BigInt(i);
  return (from / round) * stripeSize + max(0n, min(inRound, stripeSize));
}

function* piecesOf({ start, stripeSize, areas }: Placed, offset: bigint, end: bigint): Generator<Range> {
  const [only] = areas;
  if (areas.length === 1 && only !== undefined) {
    yield { offset: only + offset - start, length: end - offset };
    return;
  }
  for (let at = offset; at < end; ) {
    const stripe = (at - start) / stripeSize;
    const within = (at - start) % stripeSize;
    const area = areas[Number(stripe % BigInt(areas.length))];
    if (area === undefined) return;
    const length = min(stripeSize - within, end - at);
    yield { offset: area + (stripe / BigInt(areas.length)) * stripeSize + within, length };
    at += length;
  }
}
