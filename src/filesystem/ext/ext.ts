import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { FileObject } from '../file.js';
import {
  type Filesystem,
  type FilesystemState,
  type FreeSpaceOptions,
  isReplayable,
  type LookupOptions,
  type MetadataExtent,
  type Usage,
  type WalkEntry,
  type WalkOptions,
} from '../filesystem.js';
import { lookUp, type Tree, walkTree } from '../tree.js';
import { openRoot } from './ext-file.js';
import { readFreeSpace } from './free-space.js';
import { metadataOf } from './metadata.js';
import { recover, recoveredFreeSpace, refuseForgottenJournal } from './recovery.js';
import { readState } from './state.js';
import { readSuperblock, type Superblock, typeOf } from './superblock.js';
import { ExtVolume } from './volume.js';

/**
 * Opens an ext2, ext3 or ext4 filesystem.
 *
 * @throws {DiskError} CORRUPT when the superblock makes no sense; UNSUPPORTED for an external journal; IO, CANCELLED
 */
export async function openExt(device: BlockDevice, options: RequestOptions = {}): Promise<Filesystem> {
  const superblock = await readSuperblock(device, options);
  return new Ext(device, superblock, await readState(device, superblock, options));
}

class Ext implements Filesystem {
  readonly type: string;
  readonly label: string;
  readonly uuid: string;
  readonly size: bigint;
  readonly blockSize: number;
  #volume: ExtVolume | undefined;

  constructor(
    private readonly device: BlockDevice,
    private readonly superblock: Superblock,
    readonly state: FilesystemState,
  ) {
    this.type = typeOf(superblock);
    this.label = superblock.label;
    this.uuid = superblock.uuid;
    this.blockSize = superblock.blockSize;
    this.size = BigInt(superblock.blockCount) * BigInt(superblock.blockSize);
  }

  usage(): Promise<Usage> {
    const free = BigInt(this.superblock.freeBlockCount) * BigInt(this.blockSize);
    return Promise.resolve({ used: this.size - free, free });
  }

  async freeSpace({ replay = true, ...options }: FreeSpaceOptions = {}): Promise<RangeSet> {
    const { device, superblock, state } = this;
    if (replay && isReplayable(state)) return await recoveredFreeSpace(device, superblock, options);
    this.#mustBeClean();
    const { groups } = await this.#files(options);
    return await readFreeSpace(device, superblock, { ...options, groups });
  }

  async open(path: string, options: LookupOptions = {}): Promise<FileObject> {
    return await lookUp(await this.#tree(options), path, options);
  }

  async *walk(options: WalkOptions = {}): AsyncGenerator<WalkEntry, void, undefined> {
    yield* walkTree(await this.#tree(options), options);
  }

  async *metadata(options: RequestOptions = {}): AsyncGenerator<MetadataExtent, void, undefined> {
    yield* metadataOf(await this.#files(options), options);
  }

  async #tree(options: RequestOptions): Promise<Tree> {
    const root = await openRoot(await this.#files(options), options);
    return { name: `${this.type} on ${this.device.name}`, root };
  }

  /** What files are read from: the device as it is, or as it will be when its journal has been replayed. */
  async #files(options: RequestOptions): Promise<ExtVolume> {
    this.#volume ??= await this.#openVolume(options);
    return this.#volume;
  }

  async #openVolume(options: RequestOptions): Promise<ExtVolume> {
    const { device, superblock, state } = this;
    if (isReplayable(state)) return (await recover(device, superblock, options)).after;
    this.#mustBeClean();
    const volume = await ExtVolume.open(device, superblock, options);
    await refuseForgottenJournal(volume, options);
    return volume;
  }

  /** In any other state, what its metadata says on the disk need not be true. */
  #mustBeClean(): void {
    const { state } = this;
    if (state.kind === 'clean') return;
    const code = state.kind === 'unsupported' ? 'UNSUPPORTED' : 'UNSAFE';
    const { name: device } = this.device;
    throw new DiskError(code, `${this.type} on ${device}: ${state.reason}`, { device, reason: state.kind });
  }
}
