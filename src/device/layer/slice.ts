import { DiskError } from '../../error/disk-error.js';
import {
  BlockDevice,
  type DeviceFacts,
  type GuardedFile,
  type RequestOptions,
  type WriteOptions,
  type ZeroOptions,
} from '../block-device.js';
import type { Bytes, Extent } from '../extent.js';
import { firstExtents } from '../first-extents.js';

/**
 * A window on a part of another device: a partition. It borrows what lies under it, since a disk has many partitions:
 * closing the slice leaves the disk open. The one device over another that hands on `hostFile` and `guardedFile`, shifted, and `peek`.
 */
export class Slice extends BlockDevice {
  readonly name: string;
  readonly facts: DeviceFacts;

  /**
   * @param offset bytes from the start of `below`
   * @param length bytes
   * @param name what its user calls it, where there is such a word
   * @throws {DiskError} USAGE when the window passes the end
   */
  constructor(
    private readonly below: BlockDevice,
    private readonly offset: Bytes,
    length: Bytes,
    name = `slice[${offset}+${length}] of ${below.name}`,
  ) {
    super();
    this.name = name;
    if (offset < 0n || length < 0n || offset + length > below.facts.size) {
      throw new DiskError('USAGE', `${this.name} passes its end (${below.facts.size} bytes)`, {
        device: below.name,
        offset,
      });
    }
    const { hostFile, guardedFile } = below.facts;
    this.facts = Object.freeze({
      ...below.facts,
      size: length,
      hostFile: hostFile && { ...hostFile, offset: hostFile.offset + offset },
      guardedFile: guardedFile && shifted(guardedFile, offset),
    });
  }

  protected doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    return this.below.read(into, this.offset + offset, options);
  }

  protected doWrite(from: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void> {
    return this.below.write(from, this.offset + offset, options);
  }

  protected doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    return this.below.zero(this.offset + offset, length, options);
  }

  protected doTrim(offset: Bytes, length: Bytes, options: WriteOptions): Promise<void> {
    return this.below.trim(this.offset + offset, length, options);
  }

  protected doFlush(options: RequestOptions): Promise<void> {
    return this.below.flush(options);
  }

  protected async doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    const batch = await firstExtents(this.below, this.offset + offset, length, options);
    return batch.map((extent) => ({ ...extent, offset: extent.offset - this.offset }));
  }

  protected doPeek(offset: Bytes, length: number): Uint8Array | undefined {
    return this.below.peek(this.offset + offset, length);
  }

  protected doClose(): Promise<void> {
    return Promise.resolve();
  }
}

function shifted({ file, admit, holds }: GuardedFile, by: Bytes): GuardedFile {
  return {
    file: { ...file, offset: file.offset + by },
    admit: (offset, length, options) => admit(by + offset, length, options),
    holds: holds && ((offset, length) => holds(by + offset, length)),
  };
}
