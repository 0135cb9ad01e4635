import { DiskError } from '../../../error/disk-error.js';
import {
  diskName,
  isLogicalVolumeName,
  namesOfLogicalVolume,
  parseDeviceName,
  partitionName,
} from '../../../guest/device-name.js';
import { findVolume } from '../../../guest/find-volume.js';
import type { Guest } from '../../../guest/guest.js';
import type { LineSink } from '../../block-map/owner-index.js';

/** The devices that a block map names. */
export class MapDevices implements LineSink {
  readonly #names = new Set<string>();

  /** @param diskName of the image, for errors */
  constructor(readonly diskName: string) {}

  device(bytes: Uint8Array, start: number, end: number): number {
    this.#names.add(Buffer.from(bytes.subarray(start, end)).toString());
    return 0;
  }

  add(): void {}

  /**
   * The name that the map has for a device.
   *
   * @throws {DiskError} NOT_FOUND, naming what there is; as {@link findVolume}
   */
  find(wanted: string, guest: Guest | undefined): string {
    const found = [...this.#names].find(namedDevice(wanted, guest));
    if (found !== undefined) return found;
    const known = [...this.#names].slice(0, 20).join(', ');
    throw new DiskError('NOT_FOUND', `the block map of ${this.diskName} has no ${wanted}: it has ${known}`);
  }
}

/**
 * Whether a device of a block map is the one that is meant by a name in the style of any driver, or, where the guest is
 * known, by any other name.
 *
 * @throws {DiskError} as {@link findVolume}
 */
export function namedDevice(wanted: string, guest: Guest | undefined): (name: string) => boolean {
  if (guest !== undefined) {
    const { name: found } = findVolume(guest, wanted);
    return (name) => name === found;
  }
  const parsed = isLogicalVolumeName(wanted) ? undefined : parseDeviceName(wanted);
  const partition = parsed?.disk === 1 ? parsed.partition : undefined;
  const known = parsed === undefined ? wanted : partition === undefined ? diskName : partitionName(partition);
  return (name) => {
    const [, group, volume] = /^\/dev\/([^/]+)\/([^/]+)$/.exec(name) ?? [];
    const others = group === undefined || volume === undefined ? [] : namesOfLogicalVolume(group, volume);
    return name === known || others.includes(wanted);
  };
}
