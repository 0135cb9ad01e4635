import { closeSync } from 'node:fs';
import { call } from '../host/libc.js';
import type { Bytes } from './extent.js';
import { FileDevice } from './file-device.js';

const MFD_CLOEXEC = 1;

/**
 * A disk in memory, of zeros at first: takes room only for what is written, and gives it back when it is trimmed. The
 * kernel does both, since the disk is a memfd.
 *
 * @param size bytes: 0 … 2^63 - 1
 * @throws {DiskError} IO when the kernel has no memfd to give
 */
export function memoryDevice(size: Bytes, name = `memory[${size}]`): FileDevice {
  const fd = Number(call('memfdCreate', `for ${name}`, 'disktool', MFD_CLOEXEC));
  try {
    call('ftruncate', `${name} to ${size} bytes`, fd, size);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return new FileDevice(fd, { name, size, writable: true, blockSize: 4096, kind: 'memory' });
}
