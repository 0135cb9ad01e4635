import { max, min } from '../../binary/convert.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import type { Bytes } from '../../device/extent.js';
import { firstExtents } from '../../device/first-extents.js';
import { type Allocation, type AllocationOptions, continues, firstAllocations } from '../allocation.js';
import type { Qcow2Header } from './header.js';
import { coverageBits } from './l1-place.js';
import { type L2Entries, newRun, type Run } from './l2-entries.js';
import { isMetadataPreallocated } from './preallocation.js';
import type { Tables } from './tables.js';

/** Pieces a batch. */
const batchSize = 256;
/** Entries that are looked at for a batch, of L1 tables for one hole: others must have their turn, and the rest joins on. */
const entriesABatch = 1 << 18;
const entriesAHole = 1 << 16;

/** What is asked for what stands where. */
export interface AllocationParts {
  readonly file: BlockDevice;
  readonly header: Qcow2Header;
  readonly tables: Tables;
  readonly entries: L2Entries;
  /** Where data clusters lie. */
  readonly data: BlockDevice;
  readonly backing: BlockDevice | undefined;
}

type Known = Omit<Allocation, 'offset' | 'length' | 'place'>;
const here = { depth: 0, present: true, zero: false, data: true, compressed: false, hole: false } as const;
const byKind: Readonly<Record<Run['kind'], Known>> = {
  data: here,
  compressed: { ...here, compressed: true },
  zero: { ...here, zero: true, data: false },
  unallocated: { ...here, present: false, zero: true, data: false, hole: true },
};

/** Walks the tables of an image, and asks what is below it where they tell nothing. */
export class Allocations {
  /** log2 of the bytes that an L2 table tells of. */
  readonly #coverageBits: bigint;
  #preallocated: Promise<boolean> | undefined;

  constructor(private readonly parts: AllocationParts) {
    const { clusterSize, extendedL2 } = parts.header;
    this.#coverageBits = BigInt(coverageBits(clusterSize, extendedL2));
  }

  /** As `ImageDevice.firstAllocations`. */
  async first(offset: Bytes, length: Bytes, options: AllocationOptions): Promise<readonly Allocation[]> {
    const { file, header, tables, entries } = this.parts;
    const batch = new Batch(options.places);
    const end = offset + length;
    const run = newRun();
    this.#preallocated ??= isMetadataPreallocated(file, header);
    const asksFile = await this.#preallocated;
    const alike = options.places ? 'place' : asksFile ? 'request' : 'kind';
    let looked = 0;
    for (let at = offset; at < end && batch.count < batchSize && looked < entriesABatch; at = batch.end(at)) {
      const index = Number(at >> this.#coverageBits);
      const absent = tables.absent(index, entriesAHole);
      if (absent > 0) {
        const stop = min(BigInt(index + absent) << this.#coverageBits, end);
        await this.#addUnallocated(batch, at, stop, undefined, options);
        continue;
      }
      const table = tables.known(index) ?? (await tables.load(index));
      const tableStart = BigInt(index) << this.#coverageBits;
      const to = Number(min(end - tableStart, 1n << this.#coverageBits));
      const tableEnd = tableStart + BigInt(to);
      looked += Math.ceil(Number(tableEnd - at) / header.clusterSize);
      for (let from = at; from < tableEnd && batch.count < batchSize; from = batch.end(from)) {
        entries.run(table, Number(tableStart), Number(from - tableStart), to, alike, run);
        const stop = from + BigInt(run.length);
        const place = run.placed ? BigInt(run.host) : undefined;
        if (run.kind === 'unallocated') await this.#addUnallocated(batch, from, stop, place, options);
        else if (run.kind === 'data' && asksFile) await this.#addData(batch, from, stop, BigInt(run.host), options);
        else batch.add(from, stop, byKind[run.kind], place);
      }
    }
    return batch.pieces;
  }

  /** What the tables leave out: as the backing file has it, and zeros behind its end. */
  async #addUnallocated(
    batch: Batch,
    start: Bytes,
    end: Bytes,
    place: Bytes | undefined,
    options: AllocationOptions,
  ): Promise<void> {
    const { backing } = this.parts;
    const backed = backing === undefined ? start : max(start, min(end, backing.facts.size));
    if (backing === undefined || backed === start) {
      batch.add(start, end, byKind.unallocated, place);
      return;
    }
    for (const piece of await firstAllocations(backing, start, backed - start, { ...options, plain: true })) {
      const { offset, length, place } = piece;
      batch.add(offset, offset + length, { ...piece, depth: piece.depth + 1 }, place);
    }
  }

  /** Clusters that the host may not have stored: they take room, and its holes among them are zeros. */
  async #addData(batch: Batch, start: Bytes, end: Bytes, host: Bytes, options: RequestOptions): Promise<void> {
    const { data } = this.parts;
    const hostEnd = min(host + (end - start), data.facts.size);
    for (const { offset, length, zero } of await firstExtents(data, host, hostEnd - host, options)) {
      const at = start + (offset - host);
      batch.add(at, at + length, { ...here, zero }, offset);
    }
    const at = batch.end(start);
    if (at === start + (hostEnd - host)) batch.add(at, end, { ...here, zero: true }, hostEnd);
  }
}

/** Pieces in a row, joined as they come. */
class Batch {
  readonly pieces: Allocation[] = [];

  constructor(private readonly places: boolean) {}

  get count(): number {
    return this.pieces.length;
  }

  add(
    start: Bytes,
    end: Bytes,
    { depth, present, zero, data, compressed, hole }: Known,
    place: Bytes | undefined,
  ): void {
    if (start >= end) return;
    const known = { depth, present, zero, data, compressed, hole, place: this.places ? place : undefined };
    const piece = { offset: start, length: end - start, ...known };
    const last = this.pieces.at(-1);
    if (last !== undefined && continues(last, piece)) {
      this.pieces[this.pieces.length - 1] = { ...last, length: last.length + piece.length };
    } else this.pieces.push(piece);
  }

  /** Where the last one ends, or `start` when there is none. */
  end(start: Bytes): Bytes {
    const last = this.pieces.at(-1);
    return last === undefined ? start : last.offset + last.length;
  }
}
