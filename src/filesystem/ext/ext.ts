import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { Filesystem, FilesystemState, FreeSpaceOptions, Usage } from '../filesystem.js';
import { readFreeSpace } from './free-space.js';
import { recoveredFreeSpace, refuseForgottenJournal } from './recovered-free-space.js';
import { readState } from './state.js';
import { readSuperblock, type Superblock, typeOf } from './superblock.js';

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
    if (state.kind === 'clean') {
      await refuseForgottenJournal(device, superblock, options);
      return await readFreeSpace(device, superblock, options);
    }
    if (replay && state.kind === 'needs-recovery' && state.replayable) {
      return await recoveredFreeSpace(device, superblock, options);
    }
    // What the bitmaps call free may be in use.
    const code = state.kind === 'unsupported' ? 'UNSUPPORTED' : 'UNSAFE';
    throw new DiskError(code, `${this.type} on ${device.name}: ${state.reason}`, { device: device.name });
  }
}
