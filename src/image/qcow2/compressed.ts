import { constants, inflateRaw } from 'node:zlib';
import { bytesOf } from '../../binary/layout.js';
import type { BlockDevice } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import { zstdDecompress } from '../../host/zstd.js';
import type { Run } from './l2-entries.js';
import { LoadingCache } from './loading-cache.js';
import type { compressionTypes } from './on-disk.js';

/** Bytes of decompressed clusters that are kept. */
const cacheLimit = 16 << 20;
/** Bytes that those clusters may take that are being decompressed. */
const workLimit = 32 << 20;
const mostParallel = 8;

/** The compressed clusters of an image, decompressed as they are asked for. */
export class CompressedClusters {
  readonly #cache: LoadingCache<Uint8Array>;

  constructor(
    private readonly file: BlockDevice,
    private readonly clusterSize: number,
    private readonly compression: (typeof compressionTypes)[number],
  ) {
    // What is stored may take twice as much as what comes of it.
    const parallel = Math.max(1, Math.min(mostParallel, Math.floor(workLimit / (3 * clusterSize))));
    this.#cache = new LoadingCache({ limit: cacheLimit, parallel });
  }

  /** The cluster that is stored at `host`, if it is in memory. */
  known(host: number): Uint8Array | undefined {
    return this.#cache.known(host);
  }

  /**
   * Decompresses a cluster.
   *
   * @throws {DiskError} CORRUPT when less or more than a cluster comes of what is stored
   */
  load({ host, stored }: Run): Promise<Uint8Array> {
    return this.#cache.load(host, () => this.#read(host, stored));
  }

  async #read(host: number, stored: number): Promise<Uint8Array> {
    const { file, clusterSize } = this;
    const offset = BigInt(host);
    // Whole sectors are counted, and the file need not end with one.
    const rest = file.facts.size - offset;
    const length = rest < BigInt(stored) ? Number(rest) : stored;
    const bytes = bytesOf(await readView(file, offset, length));
    let cluster: Uint8Array;
    try {
      cluster = await (this.compression === 'zstd' ? zstdDecompress(bytes, clusterSize) : inflate(bytes, clusterSize));
    } catch (cause) {
      throw this.#wrong(offset, length, `no ${this.compression} stream of one cluster`, cause);
    }
    if (cluster.length !== clusterSize) throw this.#wrong(offset, length, `${cluster.length} bytes`);
    return cluster;
  }

  #wrong(offset: bigint, length: number, actual: string, cause?: unknown): DiskError {
    return DiskError.corrupt(
      {
        structure: 'qcow2 compressed cluster',
        offset,
        device: this.file.name,
        field: `what comes of its ${length} bytes`,
        actual,
        expected: `${this.clusterSize} bytes`,
      },
      cause,
    );
  }
}

/**
 * Raw deflate. QEMU writes it with a window of 2^12 bytes, and reads it with any, since it decompresses a cluster in one
 * go; other programs write larger ones. Neither an end of the stream nor what lies behind it matters.
 */
function inflate(bytes: Uint8Array, size: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const options = {
      windowBits: 15,
      finishFlush: constants.Z_SYNC_FLUSH,
      chunkSize: Math.max(64, size),
      maxOutputLength: size,
    };
    inflateRaw(bytes, options, (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    });
  });
}
