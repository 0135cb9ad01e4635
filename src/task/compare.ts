import { max, min, roundDown, toNumber } from '../binary/convert.js';
import { isZero } from '../binary/zeros.js';
import type { BlockDevice } from '../device/block-device.js';
import type { Extent } from '../device/extent.js';
import { rangeBuffer, readRange } from '../device/read-range.js';
import { DiskError } from '../error/disk-error.js';
import type { ImageFormat } from '../image/image-format.js';
import { formatOf, openImage, type SourceOptions } from '../image/open-image.js';
import type { TaskContext } from './context.js';
import { inParallel } from './in-parallel.js';

/** Bytes a request, and how many ranges are under way at a time: 16 MiB of buffers. */
const requestSize = 2 << 20;
const depth = 4;

export interface ComparedImage extends SourceOptions {
  readonly image: string;
}

export interface CompareOptions {
  /** Sizes that differ are a difference, and so is room that only one of the two takes. */
  readonly strict?: boolean | undefined;
}

export interface Comparison {
  readonly images: readonly [ComparedFacts, ComparedFacts];
  readonly same: boolean;
  /** The first there is. */
  readonly difference?: Difference | undefined;
}

export interface ComparedFacts {
  readonly image: string;
  readonly format: ImageFormat;
  /** Bytes of the disk. */
  readonly size: bigint;
}

/** `offset`: the first byte that is not the same, or that takes room in one of the two alone. */
export type Difference =
  | { readonly kind: 'size' }
  | { readonly kind: 'content'; readonly offset: bigint }
  | { readonly kind: 'allocation'; readonly offset: bigint; readonly allocatedIn: string };

/** What was being done when a comparison failed, as `qemu-img compare` tells apart. */
export type Stage = 'open' | 'map' | 'read';
const stages = new WeakMap<Error, Stage>();

/** The stage at which {@link compareImages} threw this. */
export function stageOf(error: unknown): Stage {
  return (error instanceof Error ? stages.get(error) : undefined) ?? 'open';
}

async function during<Result>(stage: Stage, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error) stages.set(error, stage);
    throw error;
  }
}

/**
 * Compares the disks of two images. What both are known to hold as zeros is not read. The shorter of two is taken to go
 * on with zeros, unless `strict`.
 *
 * @throws {DiskError} as {@link openImage}, and what reading them rejects with
 */
export async function compareImages(
  first: ComparedImage,
  second: ComparedImage,
  { strict = false }: CompareOptions = {},
  context: TaskContext = {},
): Promise<Comparison> {
  const open = ({ image, ...source }: ComparedImage) =>
    during('open', openImage(image, { ...source, access: 'read', ...pick(context) }));
  await using a = await open(first);
  await using b = await open(second);
  const facts = (disk: BlockDevice, { image }: ComparedImage): ComparedFacts => ({
    image,
    format: formatOf(disk),
    size: disk.facts.size,
  });
  const images = [facts(a, first), facts(b, second)] as const;
  const phase = `comparing ${first.image} with ${second.image}`;
  const found = await firstDifference(a, b, { strict, phase }, context);
  if (found === undefined) return { images, same: true };
  if (found.kind !== 'allocation') return { images, same: false, difference: found };
  const { kind, offset, inFirst } = found;
  const allocatedIn = inFirst ? first.image : second.image;
  return { images, same: false, difference: { kind, offset, allocatedIn } };
}

const pick = ({ signal, onWarning }: TaskContext) => ({ signal, onWarning });

type Found =
  | Extract<Difference, { kind: 'size' | 'content' }>
  | { readonly kind: 'allocation'; readonly offset: bigint; readonly inFirst: boolean };

/** Where two devices begin to differ; undefined when they do not. */
export async function firstDifference(
  a: BlockDevice,
  b: BlockDevice,
  { strict = false, phase = `comparing ${a.name} with ${b.name}` }: CompareOptions & { readonly phase?: string },
  context: TaskContext = {},
): Promise<Found | undefined> {
  if (strict && a.facts.size !== b.facts.size) return { kind: 'size' };
  return await new Comparer(a, b, strict, phase, context).run();
}

/** What both devices know of a part. */
interface Part {
  readonly offset: bigint;
  readonly length: bigint;
  readonly a: Extent;
  readonly b: Extent;
}

class Comparer {
  #found: Exclude<Found, { kind: 'size' }> | undefined;
  #done = 0n;
  readonly #total: bigint;

  constructor(
    private readonly a: BlockDevice,
    private readonly b: BlockDevice,
    private readonly strict: boolean,
    private readonly phase: string,
    private readonly context: TaskContext,
  ) {
    this.#total = max(a.facts.size, b.facts.size);
  }

  async run(): Promise<Found | undefined> {
    const pieces = this.#pieces();
    await inParallel(depth, this.context.signal, async (signal) => {
      const [one, other] = [rangeBuffer(this.a, requestSize), rangeBuffer(this.b, requestSize)];
      // Pieces come in order: once a difference is found, only those that were taken before can hold an earlier one.
      while (this.#found === undefined) {
        const next = await pieces.next();
        if (next.done === true) break;
        const { offset, length } = next.value;
        if (this.#isPast(offset)) break;
        const at = await this.#compare(next.value, one, other, signal);
        if (at !== undefined) this.#note({ kind: 'content', offset: offset + BigInt(at) });
        this.#report(length);
      }
    });
    if (this.context.signal?.aborted) throw DiskError.cancelled(this.context.signal);
    return this.#found;
  }

  /** Where a part begins to differ, in bytes from its start. What is known to be zeros is not read. */
  async #compare(
    { offset, length, a, b }: Part,
    one: Buffer,
    other: Buffer,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const read = (device: BlockDevice, buffer: Buffer) =>
      during('read', readRange(device, buffer, offset, toNumber(length), { signal }));
    if (a.zero) return firstNonZero(await read(this.b, other));
    if (b.zero) return firstNonZero(await read(this.a, one));
    // Both have come to rest before the buffers are used again, or the devices closed.
    const [left, right] = await Promise.allSettled([read(this.a, one), read(this.b, other)]);
    if (left.status === 'rejected') throw left.reason;
    if (right.status === 'rejected') throw right.reason;
    return firstUnequal(left.value, right.value);
  }

  /** Whether a difference lies before `offset`. */
  #isPast(offset: bigint): boolean {
    return this.#found !== undefined && this.#found.offset < offset;
  }

  #note(found: Exclude<Found, { kind: 'size' }>): void {
    if (this.#found === undefined || found.offset < this.#found.offset) this.#found = found;
  }

  #report(length: bigint): void {
    this.#done += length;
    this.context.onProgress?.({ phase: this.phase, done: this.#done, total: this.#total });
  }

  /** All that has to be read, cut to requests that end at multiples of their size; no more after a difference. */
  async *#pieces(): AsyncGenerator<Part, void, undefined> {
    const step = BigInt(requestSize);
    for await (const part of this.#parts()) {
      const { offset, length, a, b } = part;
      if (this.strict && a.allocated !== b.allocated) {
        this.#note({ kind: 'allocation', offset, inFirst: a.allocated });
        return;
      }
      if (a.zero && b.zero) {
        this.#report(length);
        continue;
      }
      const end = offset + length;
      for (let at = offset; at < end; ) {
        const next = min(roundDown(at, step) + step, end);
        yield { ...part, offset: at, length: next - at };
        at = next;
      }
    }
  }

  /** The extents of both, laid over each other. */
  async *#parts(): AsyncGenerator<Part, void, undefined> {
    const [ofA, ofB] = [this.#tiles(this.a), this.#tiles(this.b)];
    let [a, b] = [await during('map', ofA.next()), await during('map', ofB.next())];
    let offset = 0n;
    while (a.done !== true && b.done !== true) {
      const [endA, endB] = [endOf(a.value), endOf(b.value)];
      const end = min(endA, endB);
      yield { offset, length: end - offset, a: a.value, b: b.value };
      offset = end;
      if (endA === end) a = await during('map', ofA.next());
      if (endB === end) b = await during('map', ofB.next());
    }
  }

  /** The extents of one, and zeros up to where the longer one ends. */
  async *#tiles(device: BlockDevice): AsyncGenerator<Extent, void, undefined> {
    const { size } = device.facts;
    yield* device.extents(0n, size, { signal: this.context.signal });
    if (size < this.#total) yield { offset: size, length: this.#total - size, allocated: false, zero: true };
  }
}

const endOf = ({ offset, length }: Extent) => offset + length;

function firstNonZero(bytes: Buffer): number | undefined {
  return firstWhere(bytes.length, (start, end) => !isZero(bytes.subarray(start, end)));
}

function firstUnequal(left: Buffer, right: Buffer): number | undefined {
  return firstWhere(left.length, (start, end) => left.compare(right, start, end, start, end) !== 0);
}

/** The first index of which something holds, by what holds of ranges: halved until one is left. */
function firstWhere(length: number, holds: (start: number, end: number) => boolean): number | undefined {
  if (!holds(0, length)) return undefined;
  let [start, end] = [0, length];
  while (end - start > 1) {
    const middle = (start + end) >>> 1;
    if (holds(start, middle)) end = middle;
    else start = middle;
  }
  return start;
}
