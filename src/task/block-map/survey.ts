import { type Range, RangeSet } from '../../binary/range-set.js';
import { hasCode } from '../../error/disk-error.js';
import type { FileExtent, FileObject } from '../../filesystem/file.js';
import type { Filesystem } from '../../filesystem/filesystem.js';
import { typeOfContent } from '../../guest/content.js';
import { wholeDisk } from '../../guest/find-volume.js';
import type { Content, Guest, LeftVolume, Volume } from '../../guest/guest.js';
import type { TaskContext } from '../context.js';
import { restOfDirectory } from '../left-out.js';
import type { LineKind } from './map-lines.js';

/** A part of a volume, in bytes from its start, and whose it is. */
export interface Owned extends Range {
  readonly kind: LineKind;
  readonly volume: Volume;
  /** Which metadata of the filesystem or of the file it is, in a word or two: `superblock`, `inode`. */
  readonly metadata?: string | undefined;
  readonly file?: NamedFile | undefined;
  /** Of content of a file or directory. */
  readonly extent?: FileExtent | undefined;
}

/** A file by one of its names. */
export interface NamedFile {
  readonly path: Buffer;
  readonly object: FileObject;
}

export interface SurveyOptions {
  /** What is free is told as well. */
  readonly free?: boolean | undefined;
  /** What lies within metadata that holds more than one file is told as well: inodes, and what lies in them. */
  readonly inside?: boolean | undefined;
  /** Bytes of the disk: filesystems that have none of them are not looked into, and not left out either. */
  readonly within?: RangeSet | undefined;
}

/** How much there is on a disk, as far as it was looked into. */
export interface BlockMapCounts {
  readonly partitions: number;
  readonly logicalVolumes: number;
  readonly filesystems: number;
  readonly directories: number;
  /** Names of what is no directory. */
  readonly files: number;
}

/** What holds something that is not told of, and why. */
export interface NotSurveyed {
  readonly device: string;
  /** Of a single file or directory that is damaged; absent when it is all of the device, or nobody knows what of it. */
  readonly path?: Buffer | undefined;
  readonly reason: string;
}

export interface Survey {
  readonly counts: BlockMapCounts;
  readonly leftOut: readonly NotSurveyed[];
}

/**
 * Finds out what every part of a disk belongs to, from the whole of it inwards: which partition, which file, which metadata.
 * Reads metadata alone. What is damaged or not read by disktool is left out with a warning, and the rest is told.
 *
 * @param take is told of each part; only what is `inside` shares bytes with others of its volume
 * @throws {DiskError} IO, CANCELLED
 */
export async function surveyGuest(
  guest: Guest,
  options: SurveyOptions,
  take: (owned: Owned) => void,
  context: TaskContext,
): Promise<Survey> {
  const surveying = new Surveying(options, take, `mapping ${guest.disk.name}`, context);
  const { disk } = guest;
  take({ kind: 'v', volume: wholeDisk(guest), offset: 0n, length: disk.facts.size });
  for (const volume of guest.volumes) await surveying.addVolume(volume);
  for (const volume of guest.left) surveying.addLeft(volume);
  const { counts, leftOut } = surveying;
  return { counts, leftOut };
}

/** What holds nothing but other volumes, or nothing that is known. */
const containers: ReadonlySet<Content['kind']> = new Set(['extended', 'physical-volume', 'unknown']);

class Surveying {
  readonly counts = { partitions: 0, logicalVolumes: 0, filesystems: 0, directories: 0, files: 0 };
  readonly leftOut: NotSurveyed[] = [];
  #told = 0n;

  constructor(
    private readonly options: SurveyOptions,
    private readonly take: (owned: Owned) => void,
    private readonly phase: string,
    private readonly context: TaskContext,
  ) {}

  async addVolume(volume: Volume): Promise<void> {
    const { name, device, partition, logical, content, placement } = volume;
    if (partition !== undefined) this.counts.partitions++;
    if (logical !== undefined) this.counts.logicalVolumes++;
    const { within } = this.options;
    if (within !== undefined && within.intersect(placement.all).count === 0) return;
    if (partition !== undefined || logical !== undefined) {
      this.take({ kind: 'p', volume, offset: 0n, length: device.facts.size });
    }
    if (content.kind === 'swap') this.take({ kind: 's', volume, offset: 0n, length: content.swap.size });
    else if (content.kind === 'filesystem') await this.#addFilesystem(volume, content.filesystem);
    else if (!containers.has(content.kind)) {
      this.#leaveOut(name, content.kind === 'damaged' ? content.reason : `it holds ${typeOfContent(content)}`);
    }
  }

  /** A logical volume that cannot be taken apart: nobody knows which bytes are its own. */
  addLeft({ name, reason }: LeftVolume): void {
    this.counts.logicalVolumes++;
    if (this.options.within === undefined) this.#leaveOut(name, reason);
  }

  async #addFilesystem(volume: Volume, filesystem: Filesystem): Promise<void> {
    this.counts.filesystems++;
    const { signal } = this.context;
    // Where one part of it is damaged, the others are told all the same.
    const reasons = new Set<string>();
    const unlessDamaged = async (part: () => Promise<void>) => {
      try {
        await part();
      } catch (error) {
        if (!hasCode(error, 'CORRUPT', 'UNSUPPORTED', 'UNSAFE')) throw error;
        reasons.add(error.message);
      }
    };
    await unlessDamaged(async () => {
      for await (const { kind: metadata, offset, length } of filesystem.metadata({ signal })) {
        this.take({ kind: 'm', volume, offset, length, metadata });
      }
    });
    await unlessDamaged(() => this.#addFiles(volume, filesystem));
    if (this.options.free === true) {
      await unlessDamaged(async () => {
        for (const { offset, length } of await filesystem.freeSpace({ signal })) {
          this.take({ kind: 'u', volume, offset, length });
        }
      });
    }
    for (const reason of reasons) this.#leaveOut(volume.name, reason);
  }

  async #addFiles(volume: Volume, filesystem: Filesystem): Promise<void> {
    const { signal } = this.context;
    const walk = filesystem.walk({
      signal,
      onDamaged: ({ path, what, error }) =>
        this.#leaveOutFile(volume, path, error.message, what === 'file' ? undefined : restOfDirectory),
    });
    for await (const { path, file: object } of walk) {
      this.counts[object.type === 'directory' ? 'directories' : 'files']++;
      try {
        await this.#addFile(volume, { path, object });
      } catch (error) {
        if (!hasCode(error, 'CORRUPT', 'UNSUPPORTED')) throw error;
        this.#leaveOutFile(volume, path, error.message);
      }
    }
  }

  async #addFile(volume: Volume, file: NamedFile): Promise<void> {
    const { object } = file;
    const content = object.type === 'directory' ? 'd' : 'f';
    const inline: Range[] = [];
    for await (const extent of object.fileMap({ signal: this.context.signal })) {
      const { role, offset, length } = extent;
      if (extent.inline) {
        if (this.options.inside !== true) continue;
        inline.push(extent);
      }
      if (role === 'metadata') this.take({ kind: 'm', volume, offset, length, metadata: 'map or attributes', file });
      else this.take({ kind: content, volume, offset, length, file, extent });
      this.#told += length;
    }
    if (this.options.inside === true && object.record !== undefined) {
      const record = RangeSet.of([object.record]).subtract(RangeSet.of(inline));
      for (const { offset, length } of record) {
        this.take({ kind: 'm', volume, offset, length, metadata: 'inode', file });
      }
    }
    this.context.onProgress?.({ phase: this.phase, done: this.#told });
  }

  #leaveOut(device: string, reason: string): void {
    this.leftOut.push({ device, reason });
    this.context.onWarning?.(`${device} is mapped no further: ${reason}`);
  }

  #leaveOutFile({ name: device }: Volume, path: Buffer, reason: string, part?: string): void {
    this.leftOut.push({ device, path, reason: part === undefined ? reason : `${part}: ${reason}` });
    const words = part === undefined ? ' is not mapped' : `: ${part}`;
    this.context.onWarning?.(`${path.toString()} of ${device}${words}: ${reason}`);
  }
}
