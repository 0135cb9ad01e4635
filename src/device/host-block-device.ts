import { max, min, roundDown, roundUp } from '../binary/convert.js';
import { zeros } from '../binary/zeros.js';
import { blockDeviceSize, discard, logicalSectorSize } from '../host/block-ioctl.js';
import type { ZeroOptions } from './block-device.js';
import type { Bytes } from './extent.js';
import { FileDevice, type FileDeviceOptions } from './file-device.js';

/** A block device of the host: what it discards need not read as zeros, and it knows no holes. */
export class HostBlockDevice extends FileDevice {
  readonly #sector: bigint;

  constructor(fd: number, options: Pick<FileDeviceOptions, 'name' | 'writable' | 'borrowed' | 'writesNow' | 'guard'>) {
    const { name } = options;
    const size = blockDeviceSize(fd, name);
    const sector = logicalSectorSize(fd, name);
    super(fd, { ...options, size, blockSize: sector, kind: 'block' });
    this.#sector = BigInt(sector);
  }

  protected override async doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    const { start, end } = this.#wholeSectors(offset, length);
    if (start < end) await super.doZero(start, end - start, options);
    // What is left at either end is less than a sector each.
    await this.doWrite(zeros.subarray(0, Number(start - offset)), offset);
    await this.doWrite(zeros.subarray(0, Number(offset + length - end)), end);
  }

  protected override async doTrim(offset: Bytes, length: Bytes): Promise<void> {
    // Of the head, it takes all or nothing.
    const { start, end } = this.#wholeSectors(offset, length);
    if (start < end) await this.tracked(discard(this.fd, start, end - start, this.name));
  }

  /** The whole sectors inside a range: what lies before `start` and after `end` is less than a sector each. */
  #wholeSectors(offset: Bytes, length: Bytes): { start: Bytes; end: Bytes } {
    const start = min(roundUp(offset, this.#sector), offset + length);
    return { start, end: max(roundDown(offset + length, this.#sector), start) };
  }
}
