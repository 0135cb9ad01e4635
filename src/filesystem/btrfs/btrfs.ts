import { min } from '../../binary/convert.js';
import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { FileObject } from '../file.js';
import type {
  Filesystem,
  FilesystemState,
  FreeSpaceOptions,
  LookupOptions,
  MetadataExtent,
  Usage,
  WalkEntry,
  WalkOptions,
} from '../filesystem.js';
import { lookUp, type Tree, walkTree } from '../tree.js';
import { openRoot } from './btrfs-file.js';
import { readFreeSpace } from './free-space.js';
import { metadataOf } from './metadata.js';
import { readState } from './state.js';
import { readSuperblock, type Superblock } from './superblock.js';
import { BtrfsVolume } from './volume.js';

/**
 * Opens a btrfs filesystem.
 *
 * @throws {DiskError} CORRUPT when the superblock makes no sense; UNSUPPORTED for a checksum that nobody knows; IO, CANCELLED
 */
export async function openBtrfs(device: BlockDevice, options: RequestOptions = {}): Promise<Filesystem> {
  const volume = new BtrfsVolume(device, await readSuperblock(device, options));
  return new Btrfs(volume, await readState(volume, options));
}

class Btrfs implements Filesystem {
  readonly type = 'btrfs';
  readonly label: string;
  readonly uuid: string;
  readonly size: bigint;
  readonly blockSize: number;
  readonly #superblock: Superblock;

  constructor(
    private readonly volume: BtrfsVolume,
    readonly state: FilesystemState,
  ) {
    this.#superblock = volume.superblock;
    this.label = this.#superblock.label;
    this.uuid = this.#superblock.uuid;
    this.blockSize = this.#superblock.sectorSize;
    this.size = this.#superblock.device.totalBytes;
  }

  usage(): Promise<Usage> {
    const used = min(this.#superblock.usedBytes, this.size);
    return Promise.resolve({ used, free: this.size - used });
  }

  async freeSpace({ signal }: FreeSpaceOptions = {}): Promise<RangeSet> {
    this.#mustBeClean();
    return await readFreeSpace(this.volume, { signal });
  }

  async open(path: string, options: LookupOptions = {}): Promise<FileObject> {
    return await lookUp(await this.#tree(options), path, options);
  }

  async *walk(options: WalkOptions = {}): AsyncGenerator<WalkEntry, void, undefined> {
    yield* walkTree(await this.#tree(options), options);
  }

  async *metadata(options: RequestOptions = {}): AsyncGenerator<MetadataExtent, void, undefined> {
    this.#mustBeClean();
    yield* metadataOf(this.volume, options);
  }

  async #tree(options: RequestOptions): Promise<Tree> {
    this.#mustBeClean();
    return { name: `${this.type} on ${this.volume.device.name}`, root: await openRoot(this.volume, options) };
  }

  /** In any other state, what its metadata says on the disk need not be true. */
  #mustBeClean(): void {
    const { state } = this;
    if (state.kind === 'clean') return;
    const code = state.kind === 'unsupported' ? 'UNSUPPORTED' : 'UNSAFE';
    const { name: device } = this.volume.device;
    throw new DiskError(code, `${this.type} on ${device}: ${state.reason}`, { device, reason: state.kind });
  }
}
