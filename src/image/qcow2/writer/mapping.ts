import { viewOf } from '../../../binary/layout.js';
import { alignedBuffer } from '../../../host/aligned-buffer.js';
import { entryBits, QCOW_OFLAG_COPIED } from '../on-disk.js';
import type { HostFile, Placed } from './host-file.js';
import type { Qcow2Plan } from './plan.js';

/** The L1 table, and the one L2 table that is being filled: the order of the clusters makes that enough. */
export class Mapping {
  readonly #l1: Uint8Array;
  readonly #l1View: DataView;
  #l2: Uint8Array;
  #l2View: DataView;
  readonly #perTable: number;
  /** Which one is being filled. */
  #index = 0;
  #used = false;

  constructor(
    private readonly host: HostFile,
    { l1Entries, l2Entries, clusterSize }: Pick<Qcow2Plan, 'l1Entries' | 'l2Entries' | 'clusterSize'>,
  ) {
    this.#l1 = new Uint8Array(Math.ceil((l1Entries << entryBits) / clusterSize) * clusterSize);
    this.#l1View = viewOf(this.#l1);
    this.#l2 = emptyTable(clusterSize);
    this.#l2View = viewOf(this.#l2);
    this.#perTable = l2Entries;
  }

  /** Makes room for the entry of a cluster of the disk. Returns for how many from this one on there is room then. */
  async reach(cluster: number): Promise<number> {
    const index = Math.floor(cluster / this.#perTable);
    if (index !== this.#index) {
      await this.#write();
      this.#index = index;
    }
    return this.#perTable - (cluster % this.#perTable);
  }

  /** Sets the entry of a cluster that has been reached. */
  set(cluster: number, entry: bigint): void {
    this.#l2View.setBigUint64((cluster % this.#perTable) << entryBits, entry);
    this.#used = true;
  }

  /** Writes what is left, and the L1 table. */
  async finish(): Promise<Placed> {
    await this.#write();
    return this.host.append(this.#l1);
  }

  async #write(): Promise<void> {
    if (!this.#used) return;
    const { first } = await this.host.append(this.#l2);
    const entry = QCOW_OFLAG_COPIED | (BigInt(first) * BigInt(this.host.clusterSize));
    this.#l1View.setBigUint64(this.#index << entryBits, entry);
    // The other one is still being written.
    this.#l2 = emptyTable(this.host.clusterSize);
    this.#l2View = viewOf(this.#l2);
    this.#used = false;
  }
}

function emptyTable(clusterSize: number): Uint8Array {
  return alignedBuffer(clusterSize).fill(0);
}
