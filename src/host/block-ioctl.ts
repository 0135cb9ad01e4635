import { call, callLater } from './libc.js';

/** The ioctls of block devices: linux/fs.h. */
const BLKSSZGET = 0x1268;
const BLKDISCARD = 0x1277;
const BLKGETSIZE64 = 0x80081272;

/** Bytes. */
export function blockDeviceSize(fd: number, what: string): bigint {
  const size = new BigUint64Array(1);
  call('ioctl', `(size) of ${what}`, fd, BLKGETSIZE64, size);
  return size[0] ?? 0n;
}

/** Bytes: the smallest unit that can be addressed, and so what a discard or a zeroing is aligned to. */
export function logicalSectorSize(fd: number, what: string): number {
  const size = new Int32Array(1);
  call('ioctl', `(sector size) of ${what}`, fd, BLKSSZGET, size);
  return size[0] ?? 512;
}

/** Says that nobody cares about a range any more; it need not read as zeros afterwards. */
export async function discard(fd: number, offset: bigint, length: bigint, what: string): Promise<void> {
  await callLater('ioctl', `(discard) of ${what}`, fd, BLKDISCARD, BigUint64Array.of(offset, length));
}
