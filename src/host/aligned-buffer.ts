import { addressOf } from './libc.js';

/** Bytes: a page, so that it does for O_DIRECT as well. */
const alignment = 4096;

/**
 * A buffer that starts at a page, for large reads and writes. What Node allocates starts 16 bytes into a page from
 * 128 KiB on, and there the kernel's copies to and from the page cache took 4.5 times as long (AMD EPYC, Linux 6.18).
 *
 * @param length bytes; the contents are arbitrary
 */
export function alignedBuffer(length: number): Buffer {
  const whole = Buffer.allocUnsafeSlow(length + alignment);
  const past = Number(addressOf(whole) % BigInt(alignment));
  const start = (alignment - past) % alignment;
  return whole.subarray(start, start + length);
}
