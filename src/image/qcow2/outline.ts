import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { largestClusterBits, magic, qcow2Header, smallestClusterBits } from './on-disk.js';

/** What the first fields of a header say, whether or not the image can be read. */
export interface Qcow2Outline {
  readonly version: number;
  /** Bytes of the virtual disk. */
  readonly size: bigint;
  /** Bytes; undefined when it is none. */
  readonly clusterSize: number | undefined;
}

/** For an image whose header `readQcow2Header` refuses; undefined when it is no header of versions that have these fields. */
export async function readQcow2Outline(
  file: BlockDevice,
  options: RequestOptions = {},
): Promise<Qcow2Outline | undefined> {
  if (file.facts.size < BigInt(qcow2Header.size)) return undefined;
  const raw = qcow2Header.at(await readView(file, 0n, qcow2Header.size, options));
  if (raw.magic !== magic || raw.version < 2) return undefined;
  const bits = raw.cluster_bits;
  const clusterSize = bits < smallestClusterBits || bits > largestClusterBits ? undefined : 2 ** bits;
  return { version: raw.version, size: raw.size, clusterSize };
}
