import { hasCode } from '../error/disk-error.js';
import type { FileAttributes, FileType, Xattr } from '../filesystem/file.js';
import type { WalkEntry } from '../filesystem/filesystem.js';
import type { SourceOptions } from '../image/open-image.js';
import type { TaskContext } from './context.js';
import { damagedXattrs, type LeftOut, LeftOutFiles, restOfDirectory } from './left-out.js';
import { openFiles } from './open-files.js';

export interface ListFilesOptions extends SourceOptions {
  /** Everything below a directory, not only what is in it. */
  readonly recursive?: boolean | undefined;
  /** Read the targets of symbolic links and extended attributes as well. */
  readonly long?: boolean | undefined;
}

/** A name of a guest's file, and what is known of it. */
export interface ListedFile {
  /** From the root of its filesystem; any bytes but NUL. */
  readonly path: Buffer;
  readonly id: bigint;
  readonly type: FileType;
  readonly attributes: FileAttributes;
  /** Why its content cannot be read. */
  readonly refused?: string | undefined;
  /** Of a symbolic link, when asked; absent when it cannot be read. */
  readonly target?: Buffer | undefined;
  /** When asked; absent when they cannot be read. */
  readonly xattrs?: readonly Xattr[] | undefined;
}

/** What lies in a filesystem, told as it is walked. */
export interface FileListing extends AsyncDisposable {
  /** As the guest names it: `/dev/sda1`. */
  readonly device: string;
  /** The file itself when it is no directory; else what is in it, by name. */
  files(): AsyncGenerator<ListedFile, void, undefined>;
  /** What is damaged, as far as `files` has come. */
  readonly leftOut: readonly LeftOut[];
}

/**
 * Opens a filesystem of a guest to list files. Whoever opened it disposes of it. What is damaged is left out, and told.
 *
 * @param device a name that findVolume knows
 * @param path from the root; symbolic links are followed within the filesystem, but not the last one with `long`
 * @throws {DiskError} as openFiles; `files` throws what a walk throws
 */
export async function listFiles(
  image: string,
  device: string,
  path: string,
  options: ListFilesOptions,
  context: TaskContext,
): Promise<FileListing> {
  const { recursive = false, long = false, ...source } = options;
  const { signal, onWarning } = context;
  const opened = await openFiles(image, device, source, context);
  try {
    // Before anything is told: whoever asks for what is not there gets an error and nothing else.
    await opened.filesystem.open(path, { follow: !long, signal });
  } catch (error) {
    await opened[Symbol.asyncDispose]();
    throw error;
  }
  const leftOut = new LeftOutFiles(onWarning);
  async function* files(): AsyncGenerator<ListedFile, void, undefined> {
    const depth = recursive ? undefined : 1;
    let first = true;
    let warned = false;
    const walk = opened.filesystem.walk({
      from: path,
      depth,
      follow: !long,
      sorted: true,
      signal,
      onDamaged: (damaged) =>
        leftOut.add(damaged.path, damaged.error.message, damaged.what === 'file' ? undefined : restOfDirectory),
    });
    for await (const entry of walk) {
      const { type, refused } = entry.file;
      if (type === 'directory' && refused !== undefined && !warned) {
        warned = true;
        onWarning?.(`${entry.path.toString()}: encrypted: the names in it are shown encoded`);
      }
      if (!first || type !== 'directory') yield await describe(entry, long, leftOut, signal);
      first = false;
    }
  }
  return {
    device: opened.device,
    files,
    leftOut: leftOut.list,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

async function describe(
  { path, file }: WalkEntry,
  long: boolean,
  leftOut: LeftOutFiles,
  signal: AbortSignal | undefined,
): Promise<ListedFile> {
  const { id, type, attributes, refused } = file;
  if (!long) return { path, id, type, attributes, refused };
  const readable = async <Part>(part: Promise<Part>, words: string): Promise<Part | undefined> =>
    await part.catch((error: unknown) => {
      if (!hasCode(error, 'CORRUPT', 'UNSUPPORTED')) throw error;
      leftOut.add(path, error.message, words);
      return undefined;
    });
  const target =
    type === 'symlink' && refused === undefined
      ? await readable(file.linkTarget({ signal }), 'where it leads is left out')
      : undefined;
  const xattrs = await readable(file.xattrs({ signal }), damagedXattrs);
  return { path, id, type, attributes, refused, target, xattrs };
}
