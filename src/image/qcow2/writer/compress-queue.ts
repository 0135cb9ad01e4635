import { availableParallelism } from 'node:os';
import { compressCluster } from './compress.js';
import type { Qcow2Plan } from './plan.js';

/** Clusters of the disk that are to be stored: zeros, or one with its bytes. */
export type Item =
  | { readonly first: number; readonly count: number; readonly bytes?: undefined }
  | {
      readonly first: number;
      readonly bytes: Uint8Array;
      /** undefined: not shorter than it was. */
      readonly compressed: Promise<Uint8Array | undefined>;
    };

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
  add(first: number, cluster: Uint8Array): void {
    const { compression } = this.plan;
    if (compression === 'none') throw new Error('nothing is to be compressed');
    const bytes = Buffer.from(cluster);
    const compressed = compressCluster(bytes, compression);
    // Whoever takes it is told; whoever gives the image up does not ask.
    compressed.catch(() => {});
    this.#items.push({ first, bytes, compressed });
  }

  take(): Item | undefined {
    return this.#items.shift();
  }
}
