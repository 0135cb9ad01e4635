import type { BlockDevice, HostFile } from './block-device.js';
import { FileDevice } from './file-device.js';
import { HostBlockDevice } from './host-block-device.js';
import { Slice } from './layer/slice.js';

/** A device that is bytes of a host file, told so that another thread can make it anew. */
export interface PlainDevice {
  readonly name: string;
  /** Bytes. */
  readonly size: bigint;
  readonly writable: boolean;
  /** Bytes: what its host allocates by. */
  readonly blockSize: number;
  /** Descriptors belong to the whole process, so its number will do. */
  readonly hostFile: HostFile;
}

/** What another thread needs to know of a device, or undefined when it is more than bytes of a host file. */
export function describePlain({ name, facts }: BlockDevice): PlainDevice | undefined {
  const { size, writable, blockSize, hostFile } = facts;
  return hostFile && { name, size, writable, blockSize: blockSize.preferred, hostFile };
}

/** The same device for this thread, which has nothing to do but to serve it. Its descriptor is borrowed. */
export function openPlain({ name, size, writable, blockSize, hostFile }: PlainDevice): {
  device: BlockDevice;
  file: FileDevice;
} {
  const { fd, offset, kind, guard } = hostFile;
  const options = { name, writable, guard, borrowed: true, writesNow: true };
  const file =
    kind === 'block'
      ? new HostBlockDevice(fd, options)
      : new FileDevice(fd, { ...options, size: offset + size, blockSize, kind });
  const whole = offset === 0n && size === file.facts.size;
  return { file, device: whole ? file : new Slice(file, offset, size) };
}
