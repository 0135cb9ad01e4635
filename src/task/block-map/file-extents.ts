import type { FileExtent, FileType } from '../../filesystem/file.js';
import type { SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { openFiles } from '../open-files.js';

/** A part of a file in a row on the disk. */
export interface DiskExtent extends FileExtent {
  /** Bytes from the start of the disk; `offset` is from the start of the device. */
  readonly diskOffset: bigint;
}

/** A file of which it is told where it lies. Whoever opened it disposes of it. */
export interface FileOnDisk extends AsyncDisposable {
  /** As the guest names it: `/dev/sda1`. */
  readonly device: string;
  readonly path: string;
  readonly type: FileType;
  /** The same for all its names: the inode number where there is one. */
  readonly id: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** In the order of the file, its own metadata anywhere between: see {@link FileExtent}. */
  extents(): AsyncGenerator<DiskExtent, void, undefined>;
}

/**
 * Opens a file or directory of a guest to tell where it lies. Nothing else of its filesystem is looked through.
 *
 * @param device a name that findVolume knows
 * @param path from the root of its filesystem; symbolic links are followed within it
 * @throws {DiskError} as openFiles, and NOT_FOUND; `extents` throws CORRUPT, IO, CANCELLED
 */
export async function openFileOnDisk(
  image: string,
  device: string,
  path: string,
  source: SourceOptions,
  context: TaskContext,
): Promise<FileOnDisk> {
  const { signal } = context;
  const files = await openFiles(image, device, source, context);
  try {
    const file = await files.filesystem.open(path, { signal });
    const { type, id, attributes } = file;
    async function* extents(): AsyncGenerator<DiskExtent, void, undefined> {
      for await (const extent of file.fileMap({ signal })) yield* onDisk(extent);
    }
    // An extent of a logical volume may lie on the disk in pieces.
    function* onDisk(extent: FileExtent): Generator<DiskExtent> {
      const exact = extent.fileLength === extent.length;
      let done = 0n;
      for (const run of files.placement.locate(extent.offset, extent.length)) {
        const { length, offset: diskOffset } = run;
        const piece = exact ? { fileOffset: extent.fileOffset + done, fileLength: length } : {};
        yield { ...extent, ...piece, offset: extent.offset + done, length, diskOffset };
        done += length;
      }
    }
    const dispose = () => files[Symbol.asyncDispose]();
    return { device: files.device, path, type, id, size: attributes.size, extents, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await files[Symbol.asyncDispose]();
    throw error;
  }
}
