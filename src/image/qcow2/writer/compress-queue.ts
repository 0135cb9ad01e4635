import { availableParallelism } from 'node:os';
import { alignedBuffer } from '../../../host/aligned-buffer.js';
import { compressCluster } from './compress.js';
import type { Qcow2Plan } from './plan.js';

/** Clusters of the disk that are to be stored: zeros, or one with its bytes. */
export type Item = { readonly first: number; readonly count: number; readonly slot?: undefined } | Compressing;

export interface Compressing {
  readonly first: number;
  /** To be released when it has been stored. */
  readonly slot: Slot;
  /** Bytes; undefined: not shorter than it was. */
  readonly length: Promise<number | undefined>;
}

/** Memory for a cluster and what comes of it. It is used again: what is new each time keeps the garbage collector busy. */
export interface Slot {
  readonly cluster: Uint8Array;
  readonly compressed: Uint8Array;
}

/** Bytes of small clusters that are under way, and clusters at least, however large. */
const bytesUnderWay = 4 << 20;
const mostClusters = 64;
const largestLeast = 16;

/** How many clusters are under way: more than there are cores, so that none waits for the one that stores. */
export function depthFor(clusterSize: number, cores: number): number {
  const least = Math.min(largestLeast, 2 * cores);
  return Math.max(least, Math.min(mostClusters, bytesUnderWay / clusterSize));
}

/** Clusters that are being compressed, several at the same time, to be taken in order. */
export class CompressQueue {
  readonly #items: Item[] = [];
  readonly #free: Slot[] = [];
  readonly #depth: number;

  constructor(private readonly plan: Pick<Qcow2Plan, 'clusterSize' | 'compression'>) {
    this.#depth = depthFor(plan.clusterSize, availableParallelism());
  }

  /** Whether one has to be taken before another is added. */
  get full(): boolean {
    return this.#items.length >= this.#depth;
  }

  addZeros(first: number, count: number): void {
    this.#items.push({ first, count });
  }

  /** Starts on a cluster; the bytes are copied, and the caller's again at once. */
  add(first: number, bytes: Uint8Array): void {
    const { compression } = this.plan;
    if (compression === 'none') throw new Error('nothing is to be compressed');
    const slot = this.#free.pop() ?? this.#newSlot();
    slot.cluster.set(bytes);
    const length = compressCluster(slot.cluster, slot.compressed, compression);
    // Whoever takes it is told; whoever gives the image up does not ask.
    length.catch(() => {});
    this.#items.push({ first, slot, length });
  }

  take(): Item | undefined {
    return this.#items.shift();
  }

  release(slot: Slot): void {
    this.#free.push(slot);
  }

  #newSlot(): Slot {
    const { clusterSize } = this.plan;
    return { cluster: alignedBuffer(clusterSize), compressed: alignedBuffer(clusterSize) };
  }
}
