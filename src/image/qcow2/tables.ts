import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import type { L1Place } from './l1-place.js';
import type { L2Table } from './l2-entries.js';
import { LoadingCache } from './loading-cache.js';
import { L1E_OFFSET_MASK } from './on-disk.js';

/** Bytes of L2 tables that are kept: those of 128 GiB, with clusters of the usual size. */
const cacheLimit = 16 << 20;
const parallelLoads = 4;
const two32 = 2 ** 32;
const offsetHigh = Number(L1E_OFFSET_MASK >> 32n);
const offsetLow = Number(BigInt.asUintN(32, L1E_OFFSET_MASK));

/** The L1 table, and the L2 tables as they are asked for. */
export class Tables {
  readonly #cache = new LoadingCache<L2Table>({ limit: cacheLimit, parallel: parallelLoads });

  private constructor(
    private readonly file: BlockDevice,
    private readonly l1: DataView,
    private readonly l1Offset: bigint,
    private readonly clusterSize: number,
  ) {}

  /**
   * Reads the L1 table.
   *
   * @throws {DiskError} CORRUPT when it names more L2 tables than the file has room for: then some stand there twice, and
   * however small the file, there would be no end to what they tell
   */
  static async read(
    file: BlockDevice,
    place: L1Place,
    clusterSize: number,
    options: RequestOptions = {},
  ): Promise<Tables> {
    const l1 = await readView(file, place.offset, place.count * 8, options);
    const tables = new Tables(file, l1, place.offset, clusterSize);
    const room = file.facts.size / BigInt(clusterSize);
    let named = 0;
    for (let i = 0; i < place.count; i++) if (!tables.#isAbsent(i)) named++;
    if (BigInt(named) > room) {
      throw DiskError.corrupt({
        structure: 'qcow2 L1 table',
        offset: place.offset,
        device: file.name,
        field: 'entries in use',
        actual: named,
        expected: `at most ${room}: the file has no room for more L2 tables`,
      });
    }
    return tables;
  }

  /** How many entries from `index` on name no L2 table, looking at `most` of them. Behind the last, none does. */
  absent(index: number, most: number): number {
    let count = 0;
    while (count < most && this.#isAbsent(index + count)) count++;
    return count;
  }

  /** The L2 table that the entry names, if it is in memory. */
  known(index: number): L2Table | undefined {
    return this.#cache.known(this.#offset(index));
  }

  /**
   * Reads the L2 table that the entry names. What is wrong with the entry is said when it is met, not before.
   *
   * @throws {DiskError} CORRUPT when the table is not aligned, or not inside the file
   */
  load(index: number): Promise<L2Table> {
    const offset = this.#offset(index);
    // Several requests may wait for it, so it is not tied to the signal of one.
    return this.#cache.load(offset, () => this.#read(index, offset));
  }

  async #read(index: number, offset: number): Promise<L2Table> {
    const { file, clusterSize } = this;
    const wrong = (expected: string) =>
      DiskError.corrupt({
        structure: 'qcow2 L1 table entry',
        offset: this.l1Offset + BigInt(index * 8),
        device: file.name,
        field: 'L1E_OFFSET_MASK',
        actual: hex(offset),
        expected,
      });
    if (offset % clusterSize !== 0) throw wrong(`a multiple of ${clusterSize}`);
    if (BigInt(offset) + BigInt(clusterSize) > file.facts.size) {
      throw wrong(`a table of ${clusterSize} bytes inside the file of ${file.facts.size} bytes`);
    }
    const view = await readView(file, BigInt(offset), clusterSize);
    return { view, offset, byteLength: view.byteLength };
  }

  #offset(index: number): number {
    const upper = this.l1.getUint32(index * 8);
    const lower = this.l1.getUint32(index * 8 + 4);
    return (upper & offsetHigh) * two32 + ((lower & offsetLow) >>> 0);
  }

  #isAbsent(index: number): boolean {
    if (index * 8 >= this.l1.byteLength) return true;
    return (this.l1.getUint32(index * 8) & offsetHigh) === 0 && (this.l1.getUint32(index * 8 + 4) & offsetLow) === 0;
  }
}
