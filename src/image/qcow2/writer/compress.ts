import { deflateInto } from '../../../host/deflate.js';
import { zstdCompressInto } from '../../../host/zstd.js';
import type { Qcow2Compression } from './plan.js';

/** As QEMU writes it: readers of its day inflate with a window of 2^12 bytes. */
const deflateOptions = { windowBits: 12, memLevel: 9 } as const;

/**
 * Compresses a cluster, on another thread than this one where there is a way to.
 *
 * @param into as long as the cluster
 * @returns bytes; undefined when that does not make it shorter
 */
export async function compressCluster(
  cluster: Uint8Array,
  into: Uint8Array,
  compression: Exclude<Qcow2Compression, 'none'>,
): Promise<number | undefined> {
  return compression === 'zstd'
    ? await zstdCompressInto(cluster, into.subarray(0, cluster.length - 1))
    : await deflateInto(cluster, into, deflateOptions);
}
