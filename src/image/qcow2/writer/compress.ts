import { deflateRaw } from 'node:zlib';
import { zstdCompress } from '../../../host/zstd.js';
import type { Qcow2Compression } from './plan.js';

/** As QEMU writes it: readers of its day inflate with a window of 2^12 bytes. */
const deflateOptions = { windowBits: 12, memLevel: 9 } as const;

/**
 * Compresses a cluster, on another thread than this one where there is a way to.
 *
 * @returns undefined when that does not make it shorter
 */
export function compressCluster(
  bytes: Uint8Array,
  compression: Exclude<Qcow2Compression, 'none'>,
): Promise<Uint8Array | undefined> {
  if (compression === 'zstd') return zstdCompress(bytes, bytes.length - 1);
  return new Promise((resolve, reject) => {
    deflateRaw(bytes, { ...deflateOptions, chunkSize: bytes.length }, (error, result) => {
      if (error !== null) reject(error);
      else resolve(result.length < bytes.length ? result : undefined);
    });
  });
}
