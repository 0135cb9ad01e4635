import { min, toNumber } from '../../../binary/convert.js';
import { bytesOf, viewOf } from '../../../binary/layout.js';
import { BlockDevice, type DeviceFacts, type RequestOptions } from '../../../device/block-device.js';
import type { Bytes, Extent } from '../../../device/extent.js';
import { readView } from '../../../device/read-view.js';
import type { JournalBlocks } from './journal-blocks.js';
import { journalHeader, journalMagic } from './on-disk.js';
import type { Write } from './transaction.js';

/** Where in the journal each block that a replay writes lies, by its number in the filesystem. */
export type Replayed = ReadonlyMap<number, Write>;

/**
 * A device as it would be if its journal had been replayed. The overlay is a table of where in the log the blocks lie:
 * nothing is copied, nothing is written, and nothing needs to be closed. It borrows the device.
 */
export class ReplayedView extends BlockDevice {
  readonly name: string;
  readonly facts: DeviceFacts;

  constructor(
    private readonly below: BlockDevice,
    private readonly blocks: JournalBlocks,
    private readonly replayed: Replayed,
  ) {
    super();
    this.name = `${below.name} with its journal replayed`;
    this.facts = Object.freeze({
      ...below.facts,
      writable: false,
      trim: false,
      zero: 'none',
      fastZero: false,
      fua: 'none',
      extents: false,
      blockSize: { ...below.facts.blockSize, minimum: 1 },
      hostFile: undefined,
      guardedFile: undefined,
    });
  }

  protected async doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    const blockSize = BigInt(this.blocks.blockSize);
    const end = offset + BigInt(into.length);
    for (let at = offset; at < end; ) {
      const block = toNumber(at / blockSize);
      let stop = min(end, BigInt(block + 1) * blockSize);
      const write = this.replayed.get(block);
      if (write === undefined) {
        for (let next = block + 1; stop < end && !this.replayed.has(next); next++) {
          stop = min(end, BigInt(next + 1) * blockSize);
        }
      }
      const part = into.subarray(toNumber(at - offset), toNumber(stop - offset));
      if (write === undefined) part.set(bytesOf(await readView(this.below, at, part.length, options)));
      else part.set((await this.#logged(write)).subarray(toNumber(at % blockSize)).subarray(0, part.length));
      at = stop;
    }
  }

  async #logged({ from, escaped }: Write): Promise<Uint8Array> {
    const bytes = await this.blocks.read(from);
    if (!escaped) return bytes;
    const whole = Uint8Array.from(bytes);
    journalHeader.put(viewOf(whole), { h_magic: journalMagic });
    return whole;
  }

  protected doExtents(offset: Bytes, length: Bytes): Promise<readonly Extent[]> {
    return Promise.resolve([{ offset, length, allocated: true, zero: false }]);
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
    return Promise.resolve();
  }

  protected doPeek(): undefined {
    return undefined;
  }

  protected doClose(): Promise<void> {
    return Promise.resolve();
  }
}
