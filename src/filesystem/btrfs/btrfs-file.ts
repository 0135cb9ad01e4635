import type { Range } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { DirectoryEntry, FileAttributes, FileExtent, FileObject, FileType, Xattr } from '../file.js';
import { FileContent, writtenExtents } from '../file-content.js';
import { findEntry, type RawEntry, readDirectory, readXattrs } from './directory.js';
import { fileParts } from './file-extents.js';
import { contentOfPart, decodePart, fileMapOf } from './file-map.js';
import { emptySubvolume } from './file-on-disk.js';
import { type Inode, readInode } from './inode.js';
import { keyTypes, treeIds } from './on-disk.js';
import { isSubvolumeHere, openSubvolume, type Subvolume } from './subvolume.js';
import type { BtrfsVolume } from './volume.js';

/**
 * The root of the first tree, whichever subvolume is mounted by default: all others are in it.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function openRoot(volume: BtrfsVolume, options: RequestOptions): Promise<FileObject> {
  const place = { ...volume.place('tree of roots', 0n), field: 'first tree of files' };
  return await openSubvolumeRoot(volume, treeIds.files, place, options);
}

async function openSubvolumeRoot(
  volume: BtrfsVolume,
  id: bigint,
  place: ReturnType<BtrfsVolume['place']>,
  options: RequestOptions,
): Promise<FileObject> {
  const subvolume = await openSubvolume(volume, id, place, options);
  const inode = await readInode(volume, subvolume, subvolume.directory, place, options);
  if (inode.type === 'directory') return new BtrfsFile(volume, inode);
  throw DiskError.corrupt({ ...inode.place, field: 'mode', actual: inode.type, expected: 'a directory' });
}

/** Inodes are numbered in each subvolume anew: those of the first tree keep their numbers, others follow their tree's. */
function idOf({ id }: Subvolume, inode: bigint): bigint {
  return id === treeIds.files ? inode : (id << 64n) | inode;
}

/** A file of btrfs. */
class BtrfsFile implements FileObject {
  readonly id: bigint;
  readonly type: FileType;
  readonly attributes: FileAttributes;

  constructor(
    private readonly volume: BtrfsVolume,
    private readonly inode: Inode,
  ) {
    this.id = idOf(inode.subvolume, inode.number);
    this.type = inode.type;
    this.attributes = inode.attributes;
  }

  get record(): Range {
    return this.inode.record;
  }

  xattrs(options: RequestOptions = {}): Promise<readonly Xattr[]> {
    return readXattrs(this.volume, this.inode, options);
  }

  async linkTarget(options: RequestOptions = {}): Promise<Buffer> {
    this.#mustBe('symlink');
    const { place, attributes } = this.inode;
    for await (const part of fileParts(this.volume, this.inode, options)) {
      if (part.inline === undefined) break;
      const content = Buffer.from(await contentOfPart(this.volume, part, options));
      // mkfs.btrfs writes the NUL behind it as well.
      const target = content.subarray(0, Number(attributes.size));
      if (BigInt(target.length) === attributes.size && target.length > 0 && !target.includes(0)) return target;
      break;
    }
    throw DiskError.corrupt({ ...place, field: 'target', expected: `${attributes.size} bytes in one item` });
  }

  async content(options: RequestOptions = {}): Promise<BlockDevice> {
    this.#mustBe('file');
    const { volume, inode } = this;
    return await FileContent.open(volume.device, {
      name: `inode ${inode.number} of tree ${inode.subvolume.id} of ${volume.device.name}`,
      size: inode.attributes.size,
      inline: await this.#inline(options),
      extents: notInline(writtenExtents(this.fileMap(options))),
      decode: (fileOffset, own) => decodePart(volume, inode, fileOffset, own),
    });
  }

  /** What of the content lies in an item: only ever its start. */
  async #inline(options: RequestOptions): Promise<Uint8Array | undefined> {
    for await (const part of fileParts(this.volume, this.inode, options)) {
      if (part.inline === undefined) return undefined;
      const content = await contentOfPart(this.volume, part, options);
      const { size } = this.inode.attributes;
      return Uint8Array.from(size < BigInt(content.length) ? content.subarray(0, Number(size)) : content);
    }
    return undefined;
  }

  async *entries(options: RequestOptions = {}): AsyncGenerator<DirectoryEntry, void, undefined> {
    this.#mustBe('directory');
    for await (const raw of readDirectory(this.volume, this.inode, options)) yield await this.#entry(raw, options);
  }

  async find(name: Uint8Array, options: RequestOptions = {}): Promise<DirectoryEntry | undefined> {
    this.#mustBe('directory');
    const found = await findEntry(this.volume, this.inode, name, options);
    return found === undefined ? undefined : await this.#entry(found, options);
  }

  async #entry({ name, location }: RawEntry, options: RequestOptions): Promise<DirectoryEntry> {
    const { volume, inode } = this;
    const { subvolume } = inode;
    const place = { ...inode.place, field: `location of "${name.toString()}"` };
    const { objectid, type } = location;
    if (type !== keyTypes.ROOT_ITEM) {
      const open = async (own: RequestOptions = {}) =>
        new BtrfsFile(volume, await readInode(volume, subvolume, objectid, place, own));
      return { name, id: idOf(subvolume, objectid), open };
    }
    const where = { parent: subvolume, directory: inode.number, child: objectid, name };
    if (await isSubvolumeHere(volume, where, options)) {
      const open = (own: RequestOptions = {}) => openSubvolumeRoot(volume, objectid, place, own);
      return { name, id: (objectid << 64n) | 256n, open };
    }
    const absent = new AbsentSubvolume(subvolume, objectid, inode);
    return { name, id: absent.id, open: () => Promise.resolve(absent) };
  }

  fileMap(options: RequestOptions = {}): AsyncGenerator<FileExtent, void, undefined> {
    return this.type === 'file' || this.type === 'symlink' ? fileMapOf(this.volume, this.inode, options) : nothing();
  }

  #mustBe(type: FileType): void {
    if (this.type !== type) throw isNo(this, type, this.volume.device.name);
  }
}

/** The empty directory where a snapshot has the name of a subvolume that is not in it. */
class AbsentSubvolume implements FileObject {
  readonly type = 'directory';
  readonly id: bigint;
  readonly attributes: FileAttributes;

  constructor(parent: Subvolume, child: bigint, { attributes }: Inode) {
    this.id = (child << 128n) | (parent.id << 64n) | emptySubvolume;
    const { mtimeNs } = attributes;
    const times = { atimeNs: mtimeNs, mtimeNs, ctimeNs: mtimeNs };
    this.attributes = { mode: 0o755, uid: 0, gid: 0, size: 0n, links: 1, allocated: 0n, ...times };
  }

  xattrs(): Promise<readonly Xattr[]> {
    return Promise.resolve([]);
  }

  linkTarget(): Promise<Buffer> {
    return Promise.reject(isNo(this, 'symlink'));
  }

  content(): Promise<BlockDevice> {
    return Promise.reject(isNo(this, 'file'));
  }

  entries(): AsyncGenerator<DirectoryEntry, void, undefined> {
    return nothing();
  }

  find(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  fileMap(): AsyncGenerator<FileExtent, void, undefined> {
    return nothing();
  }
}

function isNo({ id, type }: FileObject, wanted: FileType, device = 'btrfs'): DiskError {
  return new DiskError('USAGE', `inode ${id} of ${device} is a ${type}, and no ${wanted}`);
}

async function* nothing(): AsyncGenerator<never, void, undefined> {}

async function* notInline(map: AsyncIterable<FileExtent>): AsyncGenerator<FileExtent, void, undefined> {
  for await (const extent of map) if (!extent.inline) yield extent;
}
