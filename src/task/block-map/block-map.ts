import type { Range } from '../../binary/range-set.js';
import { hasCode } from '../../error/disk-error.js';
import type { FileObject } from '../../filesystem/file.js';
import type { Filesystem } from '../../filesystem/filesystem.js';
import { typeOfContent } from '../../guest/content.js';
import { diskName } from '../../guest/device-name.js';
import { type Content, type Guest, type LeftVolume, openGuest, type Volume } from '../../guest/guest.js';
import { openImage, type SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { type LineKind, MapLines } from './map-lines.js';

export interface BlockMapOptions extends SourceOptions {
  /** Lines of what is free as well. */
  readonly free?: boolean | undefined;
}

/** How much there is on a disk. */
export interface BlockMapCounts {
  readonly partitions: number;
  readonly logicalVolumes: number;
  readonly filesystems: number;
  readonly directories: number;
  /** Names of what is no directory. */
  readonly files: number;
}

export interface BlockMap {
  readonly counts: BlockMapCounts;
  readonly lines: MapLines;
  /** Volumes that hold something of which no files are mapped, and why. */
  readonly leftOut: readonly { readonly device: string; readonly reason: string }[];
}

/**
 * Finds out what every part of a disk belongs to: which partition, which file, which metadata. Reads metadata alone.
 *
 * What lies in an inode (small files, short links) has no line of its own: its bytes are metadata.
 *
 * @throws {DiskError} as openImage and openGuest; a filesystem that cannot be read is left out
 */
export async function blockMap(image: string, options: BlockMapOptions, context: TaskContext): Promise<BlockMap> {
  const { free = false, ...source } = options;
  const { signal, onWarning } = context;
  await using disk = await openImage(image, { ...source, access: 'read', signal, onWarning });
  const guest = await openGuest(disk, { signal });
  for (const warning of guest.warnings) onWarning?.(warning);
  return await mapGuest(guest, { free }, context);
}

/**
 * The same of a disk that is open, in bytes from its start.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function mapGuest(
  guest: Guest,
  { free = false }: Pick<BlockMapOptions, 'free'>,
  context: TaskContext,
): Promise<BlockMap> {
  const { disk } = guest;
  const mapping = new Mapping(free, `mapping ${disk.name}`, context);
  mapping.lines.add('v', diskName, 0n, disk.facts.size);
  for (const volume of guest.volumes) await mapping.addVolume(volume);
  for (const volume of guest.left) mapping.addLeft(volume);
  const { lines, counts, leftOut } = mapping;
  return { lines, counts, leftOut };
}

/** What holds nothing but other volumes, or nothing that is known. */
const containers: ReadonlySet<Content['kind']> = new Set(['extended', 'physical-volume', 'unknown']);

class Mapping {
  readonly lines = new MapLines();
  readonly counts = { partitions: 0, logicalVolumes: 0, filesystems: 0, directories: 0, files: 0 };
  readonly leftOut: { device: string; reason: string }[] = [];
  #told = 0n;

  constructor(
    private readonly free: boolean,
    private readonly phase: string,
    private readonly context: TaskContext,
  ) {}

  async addVolume(volume: Volume): Promise<void> {
    const { name, device, partition, logical, content } = volume;
    if (partition !== undefined) this.counts.partitions++;
    if (logical !== undefined) this.counts.logicalVolumes++;
    if (partition !== undefined || logical !== undefined) {
      this.#add('p', volume, { offset: 0n, length: device.facts.size });
    }
    if (content.kind === 'swap') this.#add('s', volume, { offset: 0n, length: content.swap.size });
    else if (content.kind === 'filesystem') await this.#addFilesystem(volume, content.filesystem);
    else if (!containers.has(content.kind)) {
      this.#leaveOut(name, content.kind === 'damaged' ? content.reason : `it holds ${typeOfContent(content)}`);
    }
  }

  /** A logical volume that cannot be taken apart. */
  addLeft({ name, reason }: LeftVolume): void {
    this.counts.logicalVolumes++;
    this.#leaveOut(name, reason);
  }

  async #addFilesystem(volume: Volume, filesystem: Filesystem): Promise<void> {
    this.counts.filesystems++;
    const { signal } = this.context;
    try {
      for await (const range of filesystem.metadata({ signal })) {
        this.#add('m', volume, range);
      }
      for await (const { path, file } of filesystem.walk({ signal })) await this.#addFile(volume, path, file);
      if (!this.free) return;
      for (const range of await filesystem.freeSpace({ signal })) {
        this.#add('u', volume, range);
      }
    } catch (error) {
      if (!hasCode(error, 'CORRUPT', 'UNSUPPORTED', 'UNSAFE')) throw error;
      this.#leaveOut(volume.name, error.message);
    }
  }

  async #addFile(volume: Volume, path: Buffer, file: FileObject): Promise<void> {
    const directory = file.type === 'directory';
    this.counts[directory ? 'directories' : 'files']++;
    let line: number | undefined;
    for await (const { role, offset, length, inline } of file.fileMap({ signal: this.context.signal })) {
      if (inline) continue;
      line ??= this.lines.addPath(path);
      this.#add(role === 'metadata' ? 'm' : directory ? 'd' : 'f', volume, { offset, length }, line);
      this.#told += length;
    }
    this.context.onProgress?.({ phase: this.phase, done: this.#told });
  }

  /** Lines for a range of a volume: one, unless it lies on the disk in pieces. */
  #add(kind: LineKind, { name, placement }: Volume, { offset, length }: Range, path?: number): void {
    for (const run of placement.locate(offset, length)) this.lines.add(kind, name, run.offset, run.length, path);
  }

  #leaveOut(device: string, reason: string): void {
    this.leftOut.push({ device, reason });
    this.context.onWarning?.(`${device} is mapped no further: ${reason}`);
  }
}
