import { deflateRawSync } from 'node:zlib';
import { viewOf } from '../../src/binary/layout.js';
import type { FileDevice } from '../../src/device/file-device.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import {
  QCOW_OFLAG_COMPRESSED,
  QCOW_OFLAG_COPIED,
  QCOW_OFLAG_ZERO,
  qcow2Header,
  qcow2Header3,
} from '../../src/image/qcow2/on-disk.js';

/** A cluster of the disk: its bytes, deflated or not, or zeros, or nothing at all. */
export type BuiltCluster = { data: Uint8Array } | { deflated: Uint8Array } | 'zero' | 'unallocated';

export interface BuiltImage {
  /** Bytes of the file. */
  file: Uint8Array;
  l1Offset: number;
  l2Offsets: number[];
}

/**
 * A small image of version 3 without a program of anybody's: header, L1 table, L2 tables, clusters. It has no refcounts,
 * which a reader does without.
 */
export function buildQcow2(clusters: readonly BuiltCluster[], size: number, clusterBits = 9): BuiltImage {
  const clusterSize = 2 ** clusterBits;
  const perTable = clusterSize / 8;
  const tables = Math.max(1, Math.ceil(size / clusterSize / perTable));
  const l1Clusters = Math.ceil((tables * 8) / clusterSize);
  const l1Offset = clusterSize;
  const l2Start = l1Offset + l1Clusters * clusterSize;
  const chunks: Uint8Array[] = [];
  const head = new Uint8Array(l2Start + tables * clusterSize);
  const view = viewOf(head);
  let end = head.length;
  clusters.forEach((cluster, i) => {
    const entry = l2Start + i * 8;
    if (cluster === 'unallocated') return;
    if (cluster === 'zero') view.setBigUint64(entry, QCOW_OFLAG_ZERO);
    else if ('data' in cluster) {
      view.setBigUint64(entry, QCOW_OFLAG_COPIED | BigInt(end));
      chunks.push(Buffer.concat([cluster.data, new Uint8Array(clusterSize - cluster.data.length)]));
      end += clusterSize;
    } else {
      const stored = deflateRawSync(cluster.deflated, { windowBits: 12 });
      // At an odd place, so that neither its start nor its end is that of a sector; the next cluster starts a new one.
      const start = end + 7;
      const sectors = Math.floor((start + stored.length - 1) / 512) - Math.floor(start / 512);
      view.setBigUint64(entry, QCOW_OFLAG_COMPRESSED | (BigInt(sectors) << BigInt(70 - clusterBits)) | BigInt(start));
      const room = Math.ceil((7 + stored.length) / clusterSize) * clusterSize;
      const padded = new Uint8Array(room).fill(0xdd);
      padded.set(stored, 7);
      chunks.push(padded);
      end += room;
    }
  });
  for (let i = 0; i < tables; i++) {
    view.setBigUint64(l1Offset + i * 8, QCOW_OFLAG_COPIED | BigInt(l2Start + i * clusterSize));
  }
  qcow2Header.put(view, {
    magic: 'QFI\xfb',
    version: 3,
    cluster_bits: clusterBits,
    size: BigInt(size),
    l1_size: tables,
    l1_table_offset: BigInt(l1Offset),
  });
  qcow2Header3.put(view, { refcount_order: 4, header_length: 104 });
  return {
    file: Buffer.concat([head, ...chunks]),
    l1Offset,
    l2Offsets: Array.from({ length: tables }, (_, i) => l2Start + i * clusterSize),
  };
}

/** Bytes as a device in memory. */
export async function deviceOf(bytes: Uint8Array, name?: string): Promise<FileDevice> {
  const device = memoryDevice(BigInt(bytes.length), name);
  await device.write(bytes, 0n);
  return device;
}
