import type { Range } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { DirectoryEntry, FileAttributes, FileExtent, FileObject, FileType, Xattr } from '../file.js';
import { FileContent, writtenExtents } from '../file-content.js';
import { attributesOf } from './attributes.js';
import { sameFolded } from './casefold.js';
import { readDirectory } from './directory.js';
import type { RawEntry } from './directory-block.js';
import { fileMapOf } from './file-map.js';
import { inlineSize, inodeFlags, rootInode } from './file-on-disk.js';
import { inlineContent } from './inline-data.js';
import { type Inode, readInode } from './inode.js';
import { incompat } from './on-disk.js';
import type { ExtVolume } from './volume.js';
import { readXattrs } from './xattr.js';

/** @throws {DiskError} CORRUPT; IO, CANCELLED */
export async function openRoot(volume: ExtVolume, options: RequestOptions): Promise<FileObject> {
  return new ExtFile(volume, await readInode(volume, rootInode, options));
}

/** A file of ext2, ext3 or ext4. */
class ExtFile implements FileObject {
  readonly id: bigint;
  readonly type: FileType;
  readonly refused: string | undefined;
  #attributes: FileAttributes | undefined;

  constructor(
    private readonly volume: ExtVolume,
    private readonly inode: Inode,
  ) {
    this.id = BigInt(inode.number);
    this.type = inode.type;
    this.refused = inodeFlags.has(inode.flags, 'ENCRYPT') ? 'it is encrypted, and its key is not here' : undefined;
  }

  /** Made when they are asked for: who walks for the sake of maps does without. */
  get attributes(): FileAttributes {
    this.#attributes ??= attributesOf(this.inode);
    return this.#attributes;
  }

  get record(): Range {
    return { offset: this.inode.place.offset, length: BigInt(this.inode.bytes.length) };
  }

  xattrs(options: RequestOptions = {}): Promise<readonly Xattr[]> {
    return readXattrs(this.volume, this.inode, options);
  }

  async linkTarget(options: RequestOptions = {}): Promise<Buffer> {
    this.#mustBe('symlink');
    this.#refuse();
    const { inode, volume } = this;
    const { blockSize } = volume.superblock;
    if (inode.size === 0 || inode.size > blockSize) {
      throw DiskError.corrupt({ ...inode.place, field: 'i_size', actual: inode.size, expected: `1 to ${blockSize}` });
    }
    await using content = await this.#content(options);
    const target = Buffer.alloc(inode.size);
    await content.read(target, 0n, options);
    if (target.includes(0)) {
      throw DiskError.corrupt({ ...inode.place, field: 'target', actual: 'one with a NUL in it' });
    }
    return target;
  }

  async content(options: RequestOptions = {}): Promise<BlockDevice> {
    this.#mustBe('file');
    this.#refuse();
    return await this.#content(options);
  }

  async *entries(options: RequestOptions = {}): AsyncGenerator<DirectoryEntry, void, undefined> {
    this.#mustBe('directory');
    for await (const entry of readDirectory(this.volume, this.inode, options)) yield this.#entry(entry);
  }

  async find(name: Uint8Array, options: RequestOptions = {}): Promise<DirectoryEntry | undefined> {
    this.#mustBe('directory');
    const folds =
      inodeFlags.has(this.inode.flags, 'CASEFOLD') && incompat.has(this.volume.superblock.incompat, 'casefold');
    let folded: DirectoryEntry | undefined;
    for await (const entry of this.entries(options)) {
      if (entry.name.equals(name)) return entry;
      if (folds && folded === undefined && sameFolded(entry.name, name)) folded = entry;
    }
    return folded;
  }

  fileMap(options: RequestOptions = {}): AsyncGenerator<FileExtent, void, undefined> {
    return fileMapOf(this.volume, this.inode, this.#place(), options);
  }

  /** Where its content is. */
  #place(): 'inline' | 'blocks' | 'none' {
    const { inode, volume } = this;
    if (inodeFlags.has(inode.flags, 'INLINE_DATA')) return 'inline';
    if (inode.type === 'symlink') return isFastLink(volume, inode) ? 'inline' : 'blocks';
    return inode.type === 'file' || inode.type === 'directory' ? 'blocks' : 'none';
  }

  async #content(options: RequestOptions): Promise<BlockDevice> {
    const { inode, volume } = this;
    const { size } = this.attributes;
    const name = `inode ${inode.number} of ${volume.device.name}`;
    if (this.#place() === 'inline') {
      const inline = Buffer.concat(inlineContent(inode, inode.size).map(({ bytes }) => bytes));
      return await FileContent.open(volume.device, { name, size, inline });
    }
    return await FileContent.open(volume.device, { name, size, extents: writtenExtents(this.fileMap(options)) });
  }

  #entry({ name, inode: number }: RawEntry): DirectoryEntry {
    const { volume } = this;
    const shown = this.refused === undefined ? Buffer.from(name) : encodedName(name);
    return {
      name: shown,
      id: BigInt(number),
      open: async (options = {}) => {
        const { firstInode, ownInodes } = volume.superblock;
        const own = number < firstInode || ownInodes.includes(number);
        const inode = own ? undefined : await readInode(volume, number, options);
        if (inode === undefined || inodeFlags.has(inode.flags, 'EA_INODE')) {
          const place = { ...this.inode.place, field: `inode of "${shown.toString()}"` };
          throw DiskError.corrupt({ ...place, actual: number, expected: `that of a file, ${firstInode} or more` });
        }
        return new ExtFile(volume, inode);
      },
    };
  }

  #mustBe(type: FileType): void {
    if (this.type === type) return;
    throw new DiskError('USAGE', `inode ${this.id} of ${this.volume.device.name} is a ${this.type}, and no ${type}`);
  }

  #refuse(): void {
    if (this.refused === undefined) return;
    const { name: device } = this.volume.device;
    throw new DiskError('UNSUPPORTED', `inode ${this.id} of ${device}: ${this.refused}`, {
      device,
      reason: 'encrypted',
    });
  }
}

/**
 * Whether a target lies in i_block: that takes no blocks but those of attributes, unless these may lie in inodes, when
 * it is told by the size. As the kernel decides it: fs/ext4/inode.c, ext4_inode_is_fast_symlink.
 */
function isFastLink({ superblock }: ExtVolume, inode: Inode): boolean {
  if (incompat.has(superblock.incompat, 'ea_inode')) return inode.size > 0 && inode.size < inlineSize;
  const cluster = superblock.blockSize * superblock.blocksPerCluster;
  return inode.allocated === (inode.xattrBlock === 0 ? 0 : cluster);
}

/** What stands for a name that is encrypted: its bytes in base64url, which no file system has trouble with. */
function encodedName(name: Uint8Array): Buffer {
  return Buffer.from(Buffer.from(name).toString('base64url'));
}
