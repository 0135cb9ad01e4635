import type { BlockDevice } from '../../device/block-device.js';
import { FileDevice } from '../../device/file-device.js';
import { HostBlockDevice } from '../../device/host-block-device.js';
import { Slice } from '../../device/layer/slice.js';
import type { PlainDevice } from './messages.js';

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
