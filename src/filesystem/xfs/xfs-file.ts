import type { Range } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { DirectoryEntry, FileAttributes, FileExtent, FileObject, FileType, Xattr } from '../file.js';
import { FileContent, writtenExtents } from '../file-content.js';
import { attributesOf } from './attributes.js';
import { readDirectory } from './directory.js';
import { fileMapOf } from './file-map.js';
import { type Inode, readInode } from './inode.js';
import { readLink } from './link.js';
import { versionFlags } from './on-disk.js';
import type { XfsVolume } from './volume.js';
import { readXattrs } from './xattr.js';

/** @throws {DiskError} CORRUPT; IO, CANCELLED */
export async function openRoot(volume: XfsVolume, options: RequestOptions): Promise<FileObject> {
  const place = { ...volume.place('superblock', 0n), field: 'sb_rootino' };
  return new XfsFile(volume, await readInode(volume, volume.superblock.rootInode, place, options));
}

/** A file of XFS. */
class XfsFile implements FileObject {
  readonly id: bigint;
  readonly type: FileType;
  #attributes: FileAttributes | undefined;

  constructor(
    private readonly volume: XfsVolume,
    private readonly inode: Inode,
  ) {
    this.id = inode.number;
    this.type = inode.type;
  }

  /** Made when they are asked for: who walks for the sake of maps does without. */
  get attributes(): FileAttributes {
    this.#attributes ??= attributesOf(this.inode, this.volume.superblock.blockSize);
    return this.#attributes;
  }

  get record(): Range {
    return { offset: this.inode.place.offset, length: BigInt(this.volume.superblock.inodeSize) };
  }

  xattrs(options: RequestOptions = {}): Promise<readonly Xattr[]> {
    return readXattrs(this.volume, this.inode, options);
  }

  async linkTarget(options: RequestOptions = {}): Promise<Buffer> {
    this.#mustBe('symlink');
    return await readLink(this.volume, this.inode, options);
  }

  async content(options: RequestOptions = {}): Promise<BlockDevice> {
    this.#mustBe('file');
    const { device } = this.volume;
    const name = `inode ${this.id} of ${device.name}`;
    return await FileContent.open(device, {
      name,
      size: this.inode.size,
      extents: writtenExtents(this.fileMap(options)),
    });
  }

  async *entries(options: RequestOptions = {}): AsyncGenerator<DirectoryEntry, void, undefined> {
    this.#mustBe('directory');
    for await (const { name, inode } of readDirectory(this.volume, this.inode, options)) {
      const place = { ...this.inode.place, field: `inode of "${name.toString()}"` };
      yield {
        name,
        id: inode,
        open: async (own = {}) => new XfsFile(this.volume, await readInode(this.volume, inode, place, own)),
      };
    }
  }

  async find(name: Uint8Array, options: RequestOptions = {}): Promise<DirectoryEntry | undefined> {
    this.#mustBe('directory');
    // Folds the letters of ASCII alone.
    const folds = versionFlags.has(this.volume.superblock.versionFlags, 'BORG');
    const folded = folds ? lowerCase(name) : undefined;
    let like: DirectoryEntry | undefined;
    for await (const entry of this.entries(options)) {
      if (entry.name.equals(name)) return entry;
      if (folded !== undefined && like === undefined && lowerCase(entry.name).equals(folded)) like = entry;
    }
    return like;
  }

  fileMap(options: RequestOptions = {}): AsyncGenerator<FileExtent, void, undefined> {
    return fileMapOf(this.volume, this.inode, options);
  }

  #mustBe(type: FileType): void {
    if (this.type === type) return;
    throw new DiskError('USAGE', `inode ${this.id} of ${this.volume.device.name} is a ${this.type}, and no ${type}`);
  }
}

function lowerCase(name: Uint8Array): Buffer {
  return Buffer.from(name.map((byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte)));
}
