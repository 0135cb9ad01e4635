import { toNumber } from '../../binary/convert.js';
import { atLeast } from './columns.js';

/**
 * What a range of a disk belongs to: the whole device, a partition, a file, a directory, metadata of a filesystem, swap,
 * or nobody.
 */
export const lineKinds = ['v', 'p', 'f', 'd', 'm', 's', 'u'] as const;
export type LineKind = (typeof lineKinds)[number];

/** A line of a block map. */
export interface MapLine {
  /** Bytes from the start of the disk. */
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly kind: LineKind;
  /** As the guest names it. */
  readonly device: string;
  /** From the root of the device's filesystem, where it is part of a file; any bytes but NUL. */
  readonly path?: Buffer | undefined;
}

/** What stands for no path. */
const none = 0xffff_ffff;

/**
 * Lines by the million: columns of numbers, and each name once. A line takes 25 bytes, with its place in the order.
 *
 * Offsets are kept as numbers, which is exact for disks of up to 2^53 bytes.
 */
export class MapLines implements Iterable<MapLine> {
  readonly #devices: string[] = [];
  #starts = new Float64Array(1024);
  #ends = new Float64Array(1024);
  #kinds = new Uint8Array(1024);
  #deviceOf = new Uint16Array(1024);
  #pathOf = new Uint32Array(1024);
  #count = 0;
  /** The paths behind one another, and where each begins. */
  #text = Buffer.allocUnsafe(1 << 16);
  #textStarts = new Float64Array(1024);
  #paths = 0;
  #order: Uint32Array | undefined;

  get count(): number {
    return this.#count;
  }

  /** @returns what stands for it in {@link add} */
  addPath(path: Buffer): number {
    const start = this.#paths === 0 ? 0 : (this.#textStarts[this.#paths] ?? 0);
    const end = start + path.length;
    if (end > this.#text.length) {
      const grown = Buffer.allocUnsafe(Math.max(end, this.#text.length * 2));
      this.#text.copy(grown, 0, 0, start);
      this.#text = grown;
    }
    path.copy(this.#text, start);
    this.#textStarts = atLeast(this.#textStarts, this.#paths + 2, Float64Array);
    this.#textStarts[this.#paths + 1] = end;
    return this.#paths++;
  }

  /** @throws {DiskError} UNSUPPORTED past 2^53 bytes */
  add(kind: LineKind, device: string, start: bigint, length: bigint, path: number = none): void {
    const count = this.#count + 1;
    this.#starts = atLeast(this.#starts, count, Float64Array);
    this.#ends = atLeast(this.#ends, count, Float64Array);
    this.#kinds = atLeast(this.#kinds, count, Uint8Array);
    this.#deviceOf = atLeast(this.#deviceOf, count, Uint16Array);
    this.#pathOf = atLeast(this.#pathOf, count, Uint32Array);
    const at = this.#count++;
    this.#starts[at] = toNumber(start, { field: 'offset' });
    this.#ends[at] = toNumber(start + length, { field: 'offset' });
    this.#kinds[at] = lineKinds.indexOf(kind);
    this.#deviceOf[at] = this.#deviceNumber(device);
    this.#pathOf[at] = path;
    this.#order = undefined;
  }

  /** By their start, larger ones first, then by kind, then as they were added. */
  *[Symbol.iterator](): Iterator<MapLine> {
    this.#order ??= this.#sorted();
    for (const at of this.#order) {
      const path = this.#pathOf[at] ?? none;
      yield {
        start: BigInt(this.#starts[at] ?? 0),
        end: BigInt(this.#ends[at] ?? 0),
        kind: lineKinds[this.#kinds[at] ?? 0] ?? 'v',
        device: this.#devices[this.#deviceOf[at] ?? 0] ?? '',
        path: path === none ? undefined : this.#path(path),
      };
    }
  }

  #path(number: number): Buffer {
    return this.#text.subarray(number === 0 ? 0 : this.#textStarts[number], this.#textStarts[number + 1]);
  }

  #sorted(): Uint32Array {
    const [starts, ends, kinds] = [this.#starts, this.#ends, this.#kinds];
    const order = new Uint32Array(this.#count).map((_, i) => i);
    return order.sort(
      (a, b) =>
        (starts[a] ?? 0) - (starts[b] ?? 0) ||
        (ends[b] ?? 0) - (ends[a] ?? 0) ||
        (kinds[a] ?? 0) - (kinds[b] ?? 0) ||
        a - b,
    );
  }

  #deviceNumber(device: string): number {
    // The one that was named last comes again and again.
    const known = this.#devices.lastIndexOf(device);
    return known === -1 ? this.#devices.push(device) - 1 : known;
  }
}
