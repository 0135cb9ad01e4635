import type { BlockDevice, RequestOptions } from './block-device.js';
import type { Bytes, Extent } from './extent.js';

/** Extents a batch. */
const batchSize = 256;

/**
 * The first extents of a range, a batch of them: what a device over another answers from.
 *
 * @throws {DiskError} as {@link BlockDevice.extents}
 */
export async function firstExtents(
  device: BlockDevice,
  offset: Bytes,
  length: Bytes,
  options: RequestOptions,
): Promise<Extent[]> {
  const batch: Extent[] = [];
  for await (const extent of device.extents(offset, length, options)) {
    batch.push(extent);
    if (batch.length === batchSize) break;
  }
  return batch;
}
