import { alignedBuffer } from '../../../host/aligned-buffer.js';
import type { HostFile } from './host-file.js';

/** Bytes that are written in one go. */
const bufferSize = 1 << 20;
/** Clusters of a run that other things have to lie behind. */
const longestRun = 16;

/**
 * Compressed clusters, one behind the other without regard to the clusters of the file. Those come in runs, so that what
 * is not compressed can be placed meanwhile and leaves no gap behind each; a run is longer than the one before, so that
 * a small file has short ones.
 */
export class PackedClusters {
  #buffer: Buffer;
  /** Bytes from the start of the file: the buffer; the next one to be taken; the end of the run. All 0 without a run. */
  #start = 0;
  #at = 0;
  #end = 0;
  #run = 1;

  constructor(private readonly host: HostFile) {
    this.#buffer = this.#emptyBuffer();
  }

  /** The first cluster of the file that may still be taken by what is added. */
  get floor(): number {
    return this.#end === 0 ? this.host.end : Math.floor(this.#at / this.host.clusterSize);
  }

  /**
   * Adds a compressed cluster: shorter than a cluster.
   *
   * @returns where it lies, in bytes from the start of the file
   */
  async add(bytes: Uint8Array): Promise<number> {
    const { clusterSize } = this.host;
    if (this.#at + bytes.length > this.#end) await this.#makeRoom();
    const place = this.#at;
    const first = Math.floor(place / clusterSize);
    const last = Math.floor((place + bytes.length - 1) / clusterSize);
    this.host.refer(first, last - first + 1);
    for (let done = 0; done < bytes.length; ) {
      const used = this.#at - this.#start;
      const part = bytes.subarray(done, done + this.#buffer.length - used);
      this.#buffer.set(part, used);
      this.#at += part.length;
      done += part.length;
      if (used + part.length === this.#buffer.length) await this.#write(this.#buffer);
    }
    return place;
  }

  /** Ends the run, and gives back what nothing has been placed behind. */
  async close(): Promise<void> {
    const { host } = this;
    if (this.#end === host.end * host.clusterSize) host.giveBack(Math.ceil(this.#at / host.clusterSize));
    const used = this.#at - this.#start;
    const whole = Math.ceil(used / host.clusterSize) * host.clusterSize;
    if (whole > 0) await this.#write(this.#buffer.fill(0, used, whole).subarray(0, whole));
    this.#start = 0;
    this.#at = 0;
    this.#end = 0;
  }

  async #makeRoom(): Promise<void> {
    const { host } = this;
    if (this.#end !== host.end * host.clusterSize) {
      await this.close();
      this.#start = host.end * host.clusterSize;
      this.#at = this.#start;
    }
    host.take(this.#run);
    this.#end = host.end * host.clusterSize;
    this.#run = Math.min(this.#run * 2, longestRun);
  }

  async #write(from: Uint8Array): Promise<void> {
    await this.host.write(from, this.#start / this.host.clusterSize);
    this.#start += from.length;
    // The other one is still being written.
    this.#buffer = this.#emptyBuffer();
  }

  #emptyBuffer(): Buffer {
    return alignedBuffer(Math.max(bufferSize, this.host.clusterSize));
  }
}
