import { fstatSync } from 'node:fs';
import { bytesOf } from '../../binary/layout.js';
import type { BlockDevice } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import type { Qcow2Header } from './header.js';
import { largestRefcountTable, REFT_OFFSET_MASK } from './on-disk.js';

/** Bytes of refcounts that are looked at: those of 2 TiB, with clusters and refcounts of the usual size. */
const budget = 64 << 20;

/**
 * Whether clusters were given out that the host has not stored (qemu-img's preallocation=metadata): then the file knows
 * more of what is zero than the tables do. The rule is QEMU's: clusters in use are at least a ninth, and at least two,
 * more than those for which the host keeps room. Only of a file of the host is that known.
 */
export async function isMetadataPreallocated(file: BlockDevice, header: Qcow2Header): Promise<boolean> {
  const { hostFile, size } = file.facts;
  if (hostFile === undefined || hostFile.kind === 'block' || hostFile.offset !== 0n) return false;
  const { clusterSize } = header;
  const clusters = Number((size + BigInt(clusterSize) - 1n) / BigInt(clusterSize));
  try {
    const stored = Math.floor((fstatSync(hostFile.fd).blocks * 512) / clusterSize);
    const threshold = Math.max(Math.floor((stored * 10) / 9), stored + 2);
    // Most files are whole, and need no counting.
    if (clusters < threshold) return false;
    return await hasInUse(file, header, clusters, threshold);
  } catch {
    // Refcounts are no matter for reading, not even damaged ones.
    return false;
  }
}

/** Whether at least `wanted` of the first clusters have a refcount. */
async function hasInUse(file: BlockDevice, header: Qcow2Header, clusters: number, wanted: number): Promise<boolean> {
  const { clusterSize, refcountBits, places } = header;
  const { offset, clusters: tableClusters } = places.refcounts;
  const tableSize = Math.min(tableClusters * clusterSize, largestRefcountTable);
  const perBlock = (clusterSize * 8) / refcountBits;
  const table = await readView(file, offset, tableSize);
  let found = 0;
  let read = 0;
  for (let i = 0; i * 8 < tableSize && i * perBlock < clusters; i++) {
    const block = table.getBigUint64(i * 8) & REFT_OFFSET_MASK;
    if (block === 0n) continue;
    read += clusterSize;
    if (read > budget) return false;
    const counts = bytesOf(await readView(file, block, clusterSize));
    found += countUsed(counts, refcountBits, Math.min(perBlock, clusters - i * perBlock));
    if (found >= wanted) return true;
  }
  return false;
}

/** How many of the first `count` refcounts are not 0. */
function countUsed(bytes: Uint8Array, bits: number, count: number): number {
  let used = 0;
  if (bits < 8) {
    const mask = (1 << bits) - 1;
    const perByte = 8 / bits;
    for (let i = 0; i < count; i++) {
      const byte = bytes[Math.floor(i / perByte)] ?? 0;
      if (((byte >>> ((i % perByte) * bits)) & mask) !== 0) used++;
    }
    return used;
  }
  const width = bits / 8;
  for (let i = 0; i < count; i++) {
    for (let at = i * width; at < (i + 1) * width; at++) {
      if (bytes[at] === 0) continue;
      used++;
      break;
    }
  }
  return used;
}
