import type { BlockDevice } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { openImage } from '../../image/open-image.js';
import type { Output } from './output.js';
import { WholeBlocks } from './whole-blocks.js';

export interface DeviceOutputOptions {
  readonly name: string;
  /** Bytes that will be written. */
  readonly size: bigint;
  readonly signal?: AbortSignal | undefined;
  readonly onWarning: (message: string) => void;
}

/** A block device of the host or of an NBD server, written in place: what stays unwritten keeps what it held. */
export class DeviceOutput implements Output {
  readonly blank = false;
  readonly ordered = false;
  readonly name: string;
  readonly #blocks: WholeBlocks;
  #touched = false;
  #written = 0n;

  private constructor(
    private readonly device: BlockDevice,
    private readonly options: DeviceOutputOptions,
  ) {
    this.name = options.name;
    this.#blocks = new WholeBlocks(device);
  }

  /**
   * @param path a block device or an NBD URI
   * @throws {DiskError} as {@link openImage}: BUSY when it is mounted or somebody else's; USAGE when it is too small
   */
  static async open(path: string, options: DeviceOutputOptions): Promise<DeviceOutput> {
    const { name, size, signal, onWarning } = options;
    const device = await openImage(path, { access: 'write', format: 'raw', signal, onWarning });
    const room = device.facts.size;
    if (room < size) {
      await device.close();
      throw new DiskError('USAGE', `${name} has ${room} bytes, and the copy needs ${size}: use a larger device`, {
        device: name,
        errno: 'ENOSPC',
      });
    }
    if (room > size) onWarning(`${name} is ${room - size} bytes longer than the copy: what lies behind it stays`);
    return new DeviceOutput(device, options);
  }

  get written(): bigint {
    return this.#written;
  }

  async write(from: Uint8Array, offset: bigint): Promise<void> {
    this.#touched = true;
    await this.#blocks.write(from, offset);
    this.#written += BigInt(from.length);
  }

  zero(offset: bigint, length: bigint): Promise<void> {
    this.#touched = true;
    return this.device.zero(offset, length, { mayTrim: true });
  }

  async finish(): Promise<void> {
    try {
      await this.device.flush();
    } finally {
      await this.device.close();
    }
  }

  async discard(): Promise<void> {
    if (this.#touched) this.options.onWarning(`${this.name} holds only a part of the copy`);
    await this.device.close();
  }
}
