import { min, roundDown, roundUp, toNumber } from '../binary/convert.js';
import { alignedBuffer } from '../host/aligned-buffer.js';
import type { BlockDevice, RequestOptions } from './block-device.js';

/** A buffer for {@link readRange}: long enough for ranges of `length` bytes that begin and end within blocks of the device. */
export function rangeBuffer({ facts: { blockSize } }: BlockDevice, length: number): Buffer {
  return alignedBuffer(length + 2 * blockSize.minimum);
}

/**
 * Reads a range whatever the smallest request of the device, again and again into one buffer: for bulk.
 *
 * @param buffer of {@link rangeBuffer}
 * @returns the bytes of the range, in the buffer
 * @throws {DiskError} as {@link BlockDevice.read}
 */
export async function readRange(
  device: BlockDevice,
  buffer: Buffer,
  offset: bigint,
  length: number,
  options: RequestOptions = {},
): Promise<Buffer> {
  const { size, blockSize } = device.facts;
  const minimum = BigInt(blockSize.minimum);
  const start = roundDown(offset, minimum);
  const end = min(roundUp(offset + BigInt(length), minimum), size);
  await device.read(buffer.subarray(0, toNumber(end - start)), start, options);
  const skipped = toNumber(offset - start);
  return buffer.subarray(skipped, skipped + length);
}
