import { min, roundDown, roundUp, toNumber } from '../binary/convert.js';
import { viewOf } from '../binary/layout.js';
import type { BlockDevice, RequestOptions } from './block-device.js';

/**
 * Reads `length` bytes from any offset, whatever the device's smallest request: for structures, not for bulk.
 *
 * @throws {DiskError} as {@link BlockDevice.read}
 */
export async function readView(
  device: BlockDevice,
  offset: bigint,
  length: number,
  options: RequestOptions = {},
): Promise<DataView> {
  const minimum = BigInt(device.facts.blockSize.minimum);
  const start = roundDown(offset, minimum);
  const end = offset + BigInt(length);
  // The last request of a device may be short: its end needs no alignment.
  const aligned = end > device.facts.size ? end : min(roundUp(end, minimum), device.facts.size);
  const memory = new Uint8Array(toNumber(aligned - start));
  await device.read(memory, start, options);
  const skipped = toNumber(offset - start);
  return viewOf(memory.subarray(skipped, skipped + length));
}
