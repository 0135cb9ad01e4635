import { closeSync, fstatSync, openSync } from 'node:fs';
import { FileDevice } from '../../src/device/file-device.js';

/** A file of a test as a device, without the locks that users need. */
export async function openRaw(path: string, { writable = false } = {}): Promise<FileDevice> {
  const fd = openSync(path, writable ? 'r+' : 'r');
  try {
    return new FileDevice(fd, { name: path, size: BigInt(fstatSync(fd).size), writable, blockSize: 4096 });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
