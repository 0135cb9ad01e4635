import { closeSync, openSync, statSync } from 'node:fs';
import { FileDevice } from '../../src/device/file-device.js';

/** A host file as a device to read, without the locks of openImage. */
export function sourceDevice(path: string): FileDevice {
  const fd = openSync(path, 'r');
  try {
    return new FileDevice(fd, {
      name: path,
      size: statSync(path, { bigint: true }).size,
      writable: false,
      blockSize: 4096,
    });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
