import { fstatSync } from 'node:fs';
import type { BlockDevice } from '../device/block-device.js';
import { DiskError } from '../error/disk-error.js';
import { detectImageFormat } from './image-format.js';
import type { SourceOptions } from './open-image.js';
import { type OpenRawOptions, openRaw } from './open-raw.js';
import { readQcow2Outline } from './qcow2/outline.js';
import { type Above, besides, checkLink, foreignBelow, keyOf, openPart, refuseOthers } from './qcow2/parts.js';
import { type Qcow2Header, type Qcow2Snapshot, readQcow2Header, readQcow2Snapshots } from './qcow2/qcow2.js';

/** What one image of a chain says of itself. */
export interface ImageFacts {
  readonly image: string;
  /** As QEMU names it. */
  readonly format: string;
  /** Whether the format was found out by the first bytes, which a guest may have written. */
  readonly detected: boolean;
  /** Bytes of the disk, where the header tells. */
  readonly virtualSize?: bigint | undefined;
  /** Bytes of the file or block device; none of an NBD export. */
  readonly fileSize?: bigint | undefined;
  /** Bytes that the file takes on the host. */
  readonly allocated?: bigint | undefined;
  /** Bytes. */
  readonly clusterSize?: number | undefined;
  /** Bytes: what requests to something else than a file are made of. */
  readonly blockSize?: BlockDevice['facts']['blockSize'] | undefined;
  readonly qcow2?: Qcow2Facts | undefined;
  readonly snapshots?: readonly SnapshotFacts[] | undefined;
  /** As it stands in the image. */
  readonly backingFile?: string | undefined;
  readonly backingFormat?: string | undefined;
  /** Why not all is told, or why nobody would read it. */
  readonly problems: readonly DiskError[];
}

export type Qcow2Facts = Pick<
  Qcow2Header,
  | 'refcountBits'
  | 'compression'
  | 'encryption'
  | 'lazyRefcounts'
  | 'extendedL2'
  | 'dirty'
  | 'corrupt'
  | 'dataFile'
  | 'bitmapCount'
  | 'features'
> & {
  /** The name that qemu-img has for the version. */
  readonly compat: '0.10' | '1.1';
};

export type SnapshotFacts = Pick<Qcow2Snapshot, 'id' | 'name' | 'takenAt' | 'vmClock' | 'vmStateSize' | 'diskSize'>;

type DescribeOptions = Omit<OpenRawOptions, 'access'> & Pick<SourceOptions, 'format'>;

/**
 * Reads the headers of an image and of those that it stands on, as far as opening it would follow them. What cannot be
 * followed, opened or understood below the image is a problem of the one that names it, and stops nothing.
 *
 * @returns the image first; one at least
 * @throws {DiskError} as {@link openRaw} does of the image itself; CANCELLED
 */
export async function describeChain(path: string, options: DescribeOptions): Promise<ImageFacts[]> {
  const { format, signal } = options;
  const file = await openRaw(path, { ...options, access: 'read' });
  const images: Draft[] = [];
  await describe({ path, file, format: format ?? (await closingOnFailure(file, detectImageFormat(file))) });
  return images;

  async function describe(image: { path: string; file: BlockDevice; format: string }, above: Above = []) {
    const { path, file } = image;
    const trusted = above.length === 0 ? format !== undefined : images.at(-1)?.backingFormat !== undefined;
    const draft = drafted(path, file, image.format, !trusted);
    images.push(draft);
    try {
      if (image.format === 'raw') draft.virtualSize = file.facts.size;
      else if (image.format === 'qcow2') {
        checkLink(path, keyOf(file), above);
        const header = await describeQcow2(draft, file, signal);
        if (!trusted) refuseOthers(path, header, above);
        if (header.dataFile?.name !== undefined) {
          const place = besides(path, header.dataFile.name, 'data file');
          await (await openPart(path, place, 'data file', options)).close();
        }
        if (header.backingFile !== undefined) {
          const below = await openBelow(path, header.backingFile, header.backingFormat);
          await describe(below, [...above, { path, key: keyOf(file) }]);
        }
      } else {
        const over = above.at(-1);
        if (over !== undefined) throw foreignBelow(over.path, path, image.format);
      }
    } catch (error) {
      if (!(error instanceof DiskError) || error.code === 'CANCELLED') throw error;
      draft.problems.push(error);
    } finally {
      await file.close();
    }
  }

  async function openBelow(path: string, name: string, format: string | undefined) {
    const place = besides(path, name, 'backing file');
    const file = await openPart(path, place, 'backing file', options);
    return { path: place, file, format: format ?? (await closingOnFailure(file, detectImageFormat(file))) };
  }
}

/** Facts that are still being filled in. */
type Draft = { -readonly [Key in keyof ImageFacts]: ImageFacts[Key] } & { problems: DiskError[] };

function drafted(image: string, file: BlockDevice, format: string, detected: boolean): Draft {
  const { hostFile, size, blockSize } = file.facts;
  const stats = hostFile && fstatSync(hostFile.fd, { bigint: true });
  return {
    image,
    format,
    detected,
    // Told first, though it is known last.
    virtualSize: undefined,
    fileSize: hostFile && size,
    allocated: stats?.isFile() ? stats.blocks * 512n : undefined,
    blockSize: stats?.isFile() ? undefined : blockSize,
    problems: [],
  };
}

async function describeQcow2(draft: Draft, file: BlockDevice, signal: AbortSignal | undefined): Promise<Qcow2Header> {
  const outline = await readQcow2Outline(file, { signal });
  draft.virtualSize = outline?.size;
  draft.clusterSize = outline?.clusterSize;
  const header = await readQcow2Header(file, { signal });
  const { version, refcountBits, compression, encryption, lazyRefcounts, extendedL2 } = header;
  const { dirty, corrupt, dataFile, bitmapCount, features, backingFile, backingFormat } = header;
  const compat = version === 2 ? '0.10' : '1.1';
  const coding = { compat, refcountBits, compression, encryption } as const;
  draft.qcow2 = { ...coding, lazyRefcounts, extendedL2, dirty, corrupt, dataFile, bitmapCount, features };
  draft.backingFile = backingFile;
  draft.backingFormat = backingFormat;
  try {
    const snapshots = await readQcow2Snapshots(file, header, { signal });
    draft.snapshots = snapshots.map(({ offset: _, l1: __, ...facts }) => facts);
  } catch (error) {
    if (!(error instanceof DiskError) || error.code === 'CANCELLED') throw error;
    draft.problems.push(error);
  }
  return header;
}

async function closingOnFailure<Result>(file: BlockDevice, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    await file.close();
    throw error;
  }
}
