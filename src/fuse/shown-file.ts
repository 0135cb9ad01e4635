import { fstatSync } from 'node:fs';
import { max, min } from '../binary/convert.js';
import type { BlockDevice, RequestOptions } from '../device/block-device.js';

/** Extents that are looked at to tell the room that a device takes: what it has more of is not counted. */
const mostExtents = 16 << 10;

/** What stat(2) tells of a file that changes. */
export interface Usage {
  /** Bytes that it takes, or fewer, where it is in very many pieces. */
  readonly allocated: bigint;
  /** When it was written last. Nanoseconds since 1970. */
  readonly modified: bigint;
}

/** A device as the bytes of a regular file, whose size stays as it is. */
export class ShownFile {
  readonly size: bigint;
  readonly writable: boolean;
  /** Milliseconds since 1970. */
  #modified = Date.now();
  /** Undefined once something has been written. */
  #allocated: Promise<bigint> | undefined;

  /** @param readOnly whether nothing may be written, whatever the device takes */
  constructor(
    readonly device: BlockDevice,
    readOnly: boolean,
  ) {
    this.size = device.facts.size;
    this.writable = device.facts.writable && !readOnly;
  }

  /** Bytes of a request that lie inside. */
  inside(offset: bigint, length: bigint): bigint {
    return max(0n, min(length, this.size - offset));
  }

  read(into: Uint8Array, offset: bigint, options: RequestOptions): Promise<void> {
    return this.device.read(into, offset, options);
  }

  write(from: Uint8Array, offset: bigint): Promise<void> {
    this.#changed();
    return this.device.write(from, offset);
  }

  /**
   * Makes a range read as zeros.
   *
   * @param keepRoom whether it must not be given back
   * @throws {DiskError} UNSUPPORTED where that would be done by writing them: whoever asks can do so as well
   */
  async clear(offset: bigint, length: bigint, keepRoom: boolean): Promise<void> {
    this.#changed();
    // What is not native is never fast, and refused.
    const { zero, fastZero } = this.device.facts;
    await this.device.zero(offset, length, { mayTrim: !keepRoom, fast: fastZero || zero !== 'native' });
  }

  async flush(): Promise<void> {
    if (this.writable && this.device.facts.flush) await this.device.flush();
  }

  /** Where the next data, or the next hole, begins: at `offset` or behind it. A hole is all that is known to be zeros. */
  async seek(offset: bigint, what: 'data' | 'hole', options: RequestOptions): Promise<bigint | undefined> {
    if (offset >= this.size) return undefined;
    for await (const extent of this.device.extents(offset, this.size - offset, options)) {
      if (extent.zero === (what === 'hole')) return extent.offset;
    }
    return what === 'hole' ? this.size : undefined;
  }

  async usage(): Promise<Usage> {
    const { hostFile } = this.device.facts;
    if (hostFile !== undefined && hostFile.kind !== 'block' && hostFile.offset === 0n) {
      const { size, blocks, mtimeNs } = fstatSync(hostFile.fd, { bigint: true });
      if (size === this.size) return { allocated: blocks * 512n, modified: mtimeNs };
    }
    this.#allocated ??= this.#countAllocated();
    return { allocated: await this.#allocated, modified: BigInt(this.#modified) * 1_000_000n };
  }

  #changed(): void {
    this.#modified = Date.now();
    this.#allocated = undefined;
  }

  async #countAllocated(): Promise<bigint> {
    if (!this.device.facts.extents) return this.size;
    let allocated = 0n;
    let count = 0;
    try {
      for await (const extent of this.device.extents()) {
        if (extent.allocated || !extent.zero) allocated += extent.length;
        if (++count === mostExtents) break;
      }
      return allocated;
    } catch {
      // Who reads will hear of what is wrong.
      return this.size;
    }
  }
}
