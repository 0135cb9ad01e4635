import { Minimatch } from 'minimatch';
import { type RangeSet, RangeSetBuilder } from '../../../binary/range-set.js';
import { DiskError } from '../../../error/disk-error.js';
import type { Guest } from '../../../guest/guest.js';
import type { LineKind } from '../../block-map/map-lines.js';
import type { LineSink } from '../../block-map/owner-index.js';
import { type MapDevices, namedDevice } from './map-devices.js';

/** Files of a guest: `/var/lib/pg/*`, on one device or on all. */
export interface PathGlob {
  readonly glob: string;
  /** By any name that it has. */
  readonly device?: string | undefined;
}

/**
 * Finds the blocks of the files that a glob matches, among the lines of a block map. A `*` matches no slash, `**` any number
 * of folders, and both match names that begin with a dot.
 */
export class PathBlocks implements LineSink {
  readonly #pattern: Minimatch;
  readonly #blocks = new RangeSetBuilder();
  readonly #wanted: (device: string) => boolean;
  readonly #counts: boolean[] = [];

  /** @throws {DiskError} USAGE for a glob that no path can match */
  constructor(
    private readonly wanted: PathGlob,
    guest: Guest | undefined,
  ) {
    const { glob, device } = wanted;
    if (!glob.startsWith('/')) {
      throw new DiskError(
        'USAGE',
        `"${glob}" matches no path: write it from the root of its filesystem, like /var/log/*`,
      );
    }
    this.#pattern = new Minimatch(glob, { dot: true, nocomment: true, nonegate: true, platform: 'linux' });
    this.#wanted = device === undefined ? () => true : namedDevice(device, guest);
  }

  device(bytes: Uint8Array, start: number, end: number): number {
    return this.#counts.push(this.#wanted(Buffer.from(bytes.subarray(start, end)).toString())) - 1;
  }

  add(
    kind: LineKind,
    start: number,
    end: number,
    device: number,
    path: Uint8Array | undefined,
    pathStart: number,
    pathEnd: number,
  ): void {
    if (kind !== 'f' || path === undefined || this.#counts[device] !== true) return;
    const text = Buffer.from(path.buffer, path.byteOffset + pathStart, pathEnd - pathStart).toString();
    if (this.#pattern.match(text)) this.#blocks.add(BigInt(start), BigInt(end - start));
  }

  /**
   * The blocks, on the disk.
   *
   * @throws {DiskError} NOT_FOUND where there are none, with the reason
   */
  async finish(devices: MapDevices, guest: Guest | undefined, signal: AbortSignal | undefined): Promise<RangeSet> {
    const blocks = this.#blocks.finish();
    if (blocks.count > 0) return blocks;
    const { glob, device } = this.wanted;
    if (device !== undefined) devices.find(device, guest);
    const where = device === undefined ? devices.diskName : `${device} of ${devices.diskName}`;
    const without = guest === undefined ? undefined : await this.#firstWithout(guest, signal);
    const why =
      without === undefined
        ? `no file of ${where} that has blocks of its own matches ${glob}`
        : `${without} matches ${glob} on ${where}, and has no blocks of its own (it is empty, a directory, or lies in its inode)`;
    throw new DiskError('NOT_FOUND', `${why}: nothing would ever fail or wait`, { reason: 'no-blocks' });
  }

  /** What is wrong when none of the blocks is among the bytes that are served. */
  notServed(diskName: string): DiskError {
    const what = `the blocks of the files of ${diskName} that match ${this.wanted.glob}`;
    return new DiskError('USAGE', `${what} lie outside what is served: nothing would ever fail or wait`);
  }

  /** The first path that matches, whether or not it has blocks. */
  async #firstWithout(guest: Guest, signal: AbortSignal | undefined): Promise<string | undefined> {
    for (const { name, content } of guest.volumes) {
      if (content.kind !== 'filesystem' || !this.#wanted(name)) continue;
      try {
        for await (const { path } of content.filesystem.walk({ signal })) {
          if (this.#pattern.match(path.toString())) return path.toString();
        }
      } catch (error) {
        // It was left out of the map for that, and warned of.
        if (!(error instanceof DiskError) || error.code === 'CANCELLED' || error.code === 'IO') throw error;
      }
    }
    return undefined;
  }
}
