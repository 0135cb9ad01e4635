import { DiskError } from '../../../error/disk-error.js';
import { alignedBuffer } from '../../../host/aligned-buffer.js';

/** The one cluster that has come in part so far. */
export class PartialCluster {
  #bytes: Buffer | undefined;
  #cluster: number | undefined;
  /** Bytes that have come, when none before them is lacking. */
  #covered = 0;

  constructor(private readonly clusterSize: number) {}

  /** Which one it is, if there is one. */
  get cluster(): number | undefined {
    return this.#cluster;
  }

  /** Takes a part; `from` undefined: zeros. Parts come in ascending order. */
  add(cluster: number, start: number, end: number, from: Uint8Array | undefined): void {
    if (this.#bytes === undefined) {
      this.#bytes = alignedBuffer(this.clusterSize).fill(0);
      this.#cluster = cluster;
      this.#covered = 0;
    }
    if (from !== undefined) this.#bytes.set(from, start);
    if (start === this.#covered) this.#covered = end;
  }

  /**
   * Gives the cluster away, with zeros wherever nothing has come.
   *
   * @param needed bytes of it that must have come
   * @throws {DiskError} USAGE when they have not
   */
  take(needed: number): Uint8Array {
    const bytes = this.#bytes;
    if (bytes === undefined) throw new Error('no cluster has come in part');
    if (this.#covered < needed) {
      const words = `cluster ${this.#cluster} of the disk came in part, and what lies below it is not known here`;
      throw new DiskError('USAGE', `${words}: write whole clusters to an image with a backing file`);
    }
    this.#cluster = undefined;
    this.#bytes = undefined;
    return bytes;
  }
}
