import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { blockRuns } from './fork-map.js';
import type { Fork, Inode } from './inode.js';
import type { XfsVolume } from './volume.js';

/** Where a run of a fork's blocks lies. */
interface Run {
  readonly fileBlock: number;
  readonly block: number;
  readonly count: number;
}

/** Runs of one fork: of more, one of these makes no sense. */
const mostRuns = 1 << 20;

/** Blocks of a fork by their number, where there is no order to read them in: those of attributes. */
export class ForkReader {
  private constructor(
    private readonly volume: XfsVolume,
    private readonly inode: Inode,
    private readonly runs: readonly Run[],
  ) {}

  /** @throws {DiskError} CORRUPT; IO, CANCELLED */
  static async open(volume: XfsVolume, inode: Inode, fork: Fork, options: RequestOptions): Promise<ForkReader> {
    const runs: Run[] = [];
    for await (const { role, ...run } of blockRuns(volume, inode, fork, options)) {
      if (role === 'content') runs.push(run);
      if (runs.length > mostRuns) {
        throw DiskError.corrupt({ ...inode.place, field: 'its extents', actual: runs.length, expected: 'fewer' });
      }
    }
    return new ForkReader(volume, inode, runs);
  }

  /** Blocks that the fork has. */
  get blockCount(): number {
    return this.runs.reduce((total, { count }) => total + count, 0);
  }

  /** The block of the device that holds a block of the fork. @throws {DiskError} CORRUPT when there is none */
  blockOf(fileBlock: number): number {
    let low = 0;
    let high = this.runs.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.runs[middle]?.fileBlock ?? 0) <= fileBlock) low = middle;
      else high = middle;
    }
    const run = this.runs[low];
    const at = run === undefined ? -1 : fileBlock - run.fileBlock;
    if (run !== undefined && at >= 0 && at < run.count) return run.block + at;
    const expected = 'one that it has';
    throw DiskError.corrupt({ ...this.inode.place, field: 'block of its fork', actual: fileBlock, expected });
  }

  /** A copy of a block of the fork, and where it lies. @throws {DiskError} CORRUPT; IO, CANCELLED */
  async block(
    fileBlock: number,
    options: RequestOptions,
  ): Promise<{ readonly bytes: Uint8Array; readonly block: number }> {
    const block = this.blockOf(fileBlock);
    return { bytes: await this.volume.blocks(block, 1, this.inode.place, options), block };
  }
}
