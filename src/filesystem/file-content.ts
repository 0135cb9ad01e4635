import { max, min, toNumber } from '../binary/convert.js';
import { bytesOf } from '../binary/layout.js';
import { BlockDevice, type DeviceFacts, done, type RequestOptions } from '../device/block-device.js';
import type { Bytes, Extent } from '../device/extent.js';
import { readView } from '../device/read-view.js';
import { DiskError } from '../error/disk-error.js';
import type { FileExtent } from './file.js';

/** Extents a batch. */
const batchSize = 256;

export interface FileContentOptions {
  /** For errors. */
  readonly name: string;
  /** Bytes. */
  readonly size: bigint;
  /** The first bytes of the content, where they do not lie on the device as they are. */
  readonly inline?: Uint8Array | undefined;
  /** Of the rest: written parts in ascending order, never overlapping; all else reads as zeros. */
  readonly extents?: AsyncIterable<Pick<FileExtent, 'fileOffset' | 'fileLength' | 'offset' | 'encoded'>> | undefined;
  /**
   * Of a part that is encoded: its content, all of it.
   *
   * @param fileOffset where in the file the part begins
   */
  readonly decode?: ((fileOffset: bigint, options: RequestOptions) => Promise<Uint8Array>) | undefined;
}

/** Where parts of a file lie: lists of equal length, so that a million parts take 25 MB. */
interface Parts {
  /** Bytes from the start of the file, ascending. */
  readonly starts: BigInt64Array;
  readonly ends: BigInt64Array;
  /** Bytes from the start of the device. */
  readonly places: BigInt64Array;
  /** 1: what lies there has to be decoded. */
  readonly encoded: Uint8Array;
}

/**
 * The content of a file, put together from where its parts lie on the device of its filesystem, which it borrows: closing
 * it leaves that open. It only reads; what lies in no part is zeros.
 */
export class FileContent extends BlockDevice {
  readonly name: string;
  readonly facts: DeviceFacts;
  readonly #decode: FileContentOptions['decode'];
  /** The part that was decoded last: it is read piece by piece. */
  #decoded: { readonly start: bigint; readonly content: Promise<Uint8Array> } | undefined;

  private constructor(
    private readonly below: BlockDevice,
    private readonly parts: Parts,
    private readonly inline: Uint8Array,
    { name, size, decode }: FileContentOptions,
  ) {
    super();
    this.name = name;
    this.#decode = decode;
    const { preferred, maximum } = below.facts.blockSize;
    this.facts = Object.freeze({
      size,
      writable: false,
      flush: false,
      trim: false,
      zero: 'none',
      fastZero: false,
      fua: 'none',
      extents: true,
      blockSize: Object.freeze({ minimum: 1, preferred, maximum }),
    });
  }

  static async open(below: BlockDevice, options: FileContentOptions): Promise<FileContent> {
    const four = () => new BigInt64Array(4);
    const parts = { starts: four(), ends: four(), places: four(), encoded: new Uint8Array(4) };
    let used = 0;
    for await (const { fileOffset, fileLength, offset, encoded } of options.extents ?? []) {
      const end = min(fileOffset + fileLength, options.size);
      if (end <= fileOffset) continue;
      if (used === parts.starts.length) {
        parts.starts = grow(parts.starts);
        parts.ends = grow(parts.ends);
        parts.places = grow(parts.places);
        const flags = new Uint8Array(parts.encoded.length * 2);
        flags.set(parts.encoded);
        parts.encoded = flags;
      }
      parts.encoded[used] = encoded ? 1 : 0;
      parts.starts[used] = fileOffset;
      parts.ends[used] = end;
      parts.places[used++] = offset;
    }
    const { starts, ends, places, encoded } = parts;
    const exact = {
      starts: starts.subarray(0, used),
      ends: ends.subarray(0, used),
      places: places.subarray(0, used),
      encoded: encoded.subarray(0, used),
    };
    return new FileContent(below, exact, options.inline ?? new Uint8Array(0), options);
  }

  protected async doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    const end = offset + BigInt(into.length);
    into.fill(0);
    if (offset < this.inline.length) into.set(this.inline.subarray(toNumber(offset), toNumber(end)));
    for (let i = this.#partAfter(offset); ; i++) {
      const part = this.#part(i);
      if (part === undefined || part.start >= end) return;
      const from = max(part.start, offset);
      const to = min(part.end, end);
      const target = into.subarray(toNumber(from - offset), toNumber(to - offset));
      if (part.encoded) await this.#readEncoded(target, part.start, toNumber(from - part.start), options);
      else await this.#readBelow(target, part.place + from - part.start, options);
    }
  }

  async #readEncoded(into: Uint8Array, start: Bytes, skip: number, options: RequestOptions): Promise<void> {
    if (this.#decode === undefined) throw new DiskError('UNSUPPORTED', `${this.name}: it cannot be decoded`);
    if (this.#decoded?.start !== start) this.#decoded = { start, content: this.#decode(start, options) };
    const own = this.#decoded;
    try {
      into.set((await own.content).subarray(skip, skip + into.length));
    } catch (error) {
      // Whoever asks again may have more luck: this one may have been cancelled.
      if (this.#decoded === own) this.#decoded = undefined;
      throw error;
    }
  }

  async #readBelow(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    const minimum = BigInt(this.below.facts.blockSize.minimum);
    if (offset % minimum === 0n && BigInt(into.length) % minimum === 0n) await this.below.read(into, offset, options);
    else into.set(bytesOf(await readView(this.below, offset, into.length, options)));
  }

  protected doExtents(offset: Bytes, length: Bytes): Promise<readonly Extent[]> {
    const batch: Extent[] = [];
    const add = (start: Bytes, end: Bytes, data: boolean) => {
      if (start < end) batch.push({ offset: start, length: end - start, allocated: data, zero: !data });
    };
    const end = offset + length;
    let at = offset;
    const inlineEnd = BigInt(this.inline.length);
    if (at < inlineEnd) {
      add(0n, min(inlineEnd, this.facts.size), true);
      at = inlineEnd;
    }
    for (let i = this.#partAfter(at); at < end && batch.length < batchSize; i++) {
      const part = this.#part(i);
      const start = part?.start ?? this.facts.size;
      add(at, start, false);
      add(part?.start ?? start, part?.end ?? start, true);
      at = part?.end ?? start;
    }
    return Promise.resolve(batch);
  }

  protected doPeek(offset: Bytes, length: number): Uint8Array | undefined {
    const start = toNumber(min(offset, BigInt(this.inline.length)));
    const known = this.inline.subarray(start, start + length);
    return known.length === length ? known : undefined;
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

  protected doFlush(): Promise<void> {
    return done;
  }

  protected doClose(): Promise<void> {
    return done;
  }

  #part(i: number) {
    const [start, end, place] = [this.parts.starts[i], this.parts.ends[i], this.parts.places[i]];
    const encoded = this.parts.encoded[i] === 1;
    return start === undefined || end === undefined || place === undefined ? undefined : { start, end, place, encoded };
  }

  /** The first part that ends behind `offset`. */
  #partAfter(offset: Bytes): number {
    const { ends } = this.parts;
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ends[middle] ?? 0n) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The extents of a file map that hold what is read from the file. */
export async function* writtenExtents(map: AsyncIterable<FileExtent>): AsyncGenerator<FileExtent, void, undefined> {
  for await (const extent of map) if (extent.role === 'content' && !extent.unwritten) yield extent;
}

function grow(list: BigInt64Array): BigInt64Array<ArrayBuffer> {
  const grown = new BigInt64Array(list.length * 2);
  grown.set(list);
  return grown;
}
