import { max, min } from '../../binary/convert.js';
import type { Range, RangeSet } from '../../binary/range-set.js';
import { type BlockDevice, done, guardedFileOf, type RequestOptions } from '../block-device.js';
import type { Bytes, Extent } from '../extent.js';
import { firstExtents } from '../first-extents.js';
import { Layer } from './layer.js';

/** Extents a batch. */
const batchSize = 256;
/** Bytes: what hosts allocate by. Less than a block of it is no hole to anybody. */
const hostBlock = 4096;

/**
 * A read-only view in which some ranges are holes: they read as zeros to the last byte, whatever lies under them, and
 * whole blocks of them are told of. What a request costs does not depend on how many there are.
 */
export class HolesLayer extends Layer {
  readonly name: string;
  /** The holes that are told of. */
  readonly #told: RangeSet;

  constructor(
    below: BlockDevice,
    private readonly holes: RangeSet,
  ) {
    const guardedFile = guardedFileOf(below);
    super(below, {
      writable: false,
      trim: false,
      zero: 'none',
      fastZero: false,
      fua: 'none',
      extents: true,
      guardedFile: guardedFile && {
        ...guardedFile,
        holds: (offset, length) => {
          const { inside, end } = holes.run(offset, offset + length);
          return !inside && end === offset + length && (guardedFile.holds?.(offset, length) ?? true);
        },
      },
    });
    this.name = `holes over ${below.name}`;
    this.#told = holes.roundInwards(BigInt(Math.max(hostBlock, below.facts.blockSize.minimum)));
  }

  protected doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    const length = BigInt(into.length);
    const { inside, end } = this.holes.run(offset, offset + length);
    if (end < offset + length) return this.#readMixed(into, offset, options);
    if (!inside) return this.below.read(into, offset, options);
    into.fill(0);
    return done;
  }

  /** In one read, whose parts that are holes are overwritten: who asks for extents first seldom comes here. */
  async #readMixed(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    await this.below.read(into, offset, options);
    for (const hole of this.holes.within(offset, BigInt(into.length))) {
      const start = Number(hole.offset - offset);
      into.fill(0, start, start + Number(hole.length));
    }
  }

  protected async doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    const first = this.#told.run(offset, offset + length);
    // What lies under a hole need not be asked for.
    if (first.inside) return [hole(offset, first.end)];
    const batch = await firstExtents(this.below, offset, length, options);
    const last = batch.at(-1);
    const end = last === undefined ? offset : last.offset + last.length;
    return cutOut(batch, this.#told.within(offset, end - offset));
  }

  protected doWrite(): Promise<void> {
    return Promise.reject(this.readOnly('write'));
  }

  protected doZero(): Promise<void> {
    return Promise.reject(this.readOnly('zero'));
  }

  protected doTrim(): Promise<void> {
    return Promise.reject(this.readOnly('trim'));
  }

  protected doFlush(options: RequestOptions): Promise<void> {
    return this.below.flush(options);
  }
}

/** The view, or the device itself where nothing of it is a hole: then it keeps whatever is faster without. */
export function withoutBytes(device: BlockDevice, holes: RangeSet): BlockDevice {
  return holes.count === 0 ? device : new HolesLayer(device, holes);
}

function hole(start: Bytes, end: Bytes): Extent {
  return { offset: start, length: end - start, allocated: false, zero: true };
}

/** The first extents of a tiling, with holes in their places. */
function cutOut(extents: readonly Extent[], holes: Iterator<Range>): Extent[] {
  const batch: Extent[] = [];
  let next = holes.next();
  for (const extent of extents) {
    const end = extent.offset + extent.length;
    for (let at = extent.offset; at < end; ) {
      if (batch.length === batchSize) return batch;
      const start = next.done === true ? end : min(next.value.offset, end);
      if (at < start) {
        batch.push({ ...extent, offset: at, length: start - at });
        at = start;
      } else if (next.done !== true) {
        const holeEnd = next.value.offset + next.value.length;
        batch.push(hole(at, min(holeEnd, end)));
        at = max(at, min(holeEnd, end));
        if (holeEnd <= end) next = holes.next();
      }
    }
  }
  return batch;
}
