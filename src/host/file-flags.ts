import { tryCall } from './libc.js';

/** linux/fs.h: _IOR('f', 1, long) and _IOW('f', 2, long); in truth they take an int. */
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_NOCOMP_FL = 0x400;
const FS_NOCOW_FL = 0x800000;

/**
 * Asks that what is written to an empty file is neither compressed nor, when it is written again, put elsewhere. Each is
 * set where the filesystem knows it.
 */
export function storeAsWritten(fd: number): void {
  for (const flag of [FS_NOCOW_FL, FS_NOCOMP_FL]) {
    const flags = new Int32Array(2);
    if (tryCall('ioctl', fd, FS_IOC_GETFLAGS, flags) !== 0) return;
    tryCall('ioctl', fd, FS_IOC_SETFLAGS, Int32Array.of((flags[0] ?? 0) | flag, 0));
  }
}
