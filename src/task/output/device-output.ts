import { close, constants, open } from 'node:fs';
import { promisify } from 'node:util';
import { HostBlockDevice } from '../../device/host-block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../../host/errno.js';
import type { Output } from './output.js';

const openFd = promisify(open);
const closeFd = promisify(close);

export interface DeviceOutputOptions {
  readonly name: string;
  /** Bytes that will be written. */
  readonly size: bigint;
  readonly onWarning: (message: string) => void;
}

/** A block device of the host, written in place: what stays unwritten keeps what it held. */
export class DeviceOutput implements Output {
  readonly blank = false;
  readonly ordered = false;
  readonly name: string;
  #touched = false;

  private constructor(
    private readonly device: HostBlockDevice,
    private readonly options: DeviceOutputOptions,
  ) {
    this.name = options.name;
  }

  /**
   * @throws {DiskError} BUSY when it is mounted or somebody else's; USAGE when it is too small
   */
  static async open(path: string, options: DeviceOutputOptions): Promise<DeviceOutput> {
    const { name, size, onWarning } = options;
    const fd = await openFd(path, constants.O_RDWR | constants.O_EXCL).catch((error: unknown) => {
      if (errnoOf(error) !== 'EBUSY') throw wrapSystemError(`open ${name}`, error);
      throw new DiskError('BUSY', `${name}: in use (mounted, or part of another device): unmount it first`, {
        device: name,
        errno: 'EBUSY',
        cause: error,
      });
    });
    let device: HostBlockDevice;
    try {
      device = new HostBlockDevice(fd, { name, writable: true });
    } catch (error) {
      await closeFd(fd);
      throw error;
    }
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

  write(from: Uint8Array, offset: bigint): Promise<void> {
    this.#touched = true;
    return this.device.write(from, offset);
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
