import { DiskError, hasCode } from '../../error/disk-error.js';
import type { FileObject } from '../../filesystem/file.js';
import type { Filesystem } from '../../filesystem/filesystem.js';
import { childPath } from '../../filesystem/tree.js';
import { call } from '../../host/libc.js';
import { isPlainName, TreeFolder } from '../../host/tree-folder.js';
import type { SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { type LeftOut, restOfDirectory } from '../left-out.js';
import { openFiles } from '../open-files.js';
import { copyTree } from './copy-tree.js';
import { Copying, type CopyOutCounts } from './copying.js';

export interface CopyOutOptions extends SourceOptions {
  /** What is there already is replaced, and a folder is filled. */
  readonly force?: boolean | undefined;
}

export interface CopyOutResult extends CopyOutCounts {
  /** As the guest names it: `/dev/sda1`. */
  readonly device: string;
  /** What was not copied, and why. */
  readonly leftOut: readonly LeftOut[];
}

/**
 * Copies files and whole directories of a guest into a folder, as `cp -a` does: with owners when run by root, modes,
 * times, symbolic links, holes, extended attributes, and hard links among what is copied. Whatever names and links the
 * image holds, nothing outside the folder is touched. A file has its name only once it is whole; all is on the disk when
 * this resolves.
 *
 * What cannot be copied (encrypted, damaged, a device unless by root) is left out, and told.
 *
 * @param device a name that findVolume knows
 * @param paths from the root; of `/`, what is in it is copied. The last link of a path is copied, and not followed
 * @param folder that is there
 * @throws {DiskError} as openFiles; NOT_FOUND; USAGE for two paths of one name; UNSAFE when a name is taken; IO
 */
export async function copyOut(
  image: string,
  device: string,
  paths: readonly string[],
  folder: string,
  { force = false, ...options }: CopyOutOptions,
  context: TaskContext,
): Promise<CopyOutResult> {
  const { signal } = context;
  await using files = await openFiles(image, device, options, context);
  using target = TreeFolder.open(folder);
  const copying = new Copying(target, force, `copying files of ${files.device}`, context);
  const sources = await findSources(copying, files.filesystem, paths);
  for (const { name } of sources) if (!force && target.stat(name) !== undefined) throw taken(folder, name);
  for (const source of sources) await copyTree(copying, target, source);
  copying.tellLosses();
  if (signal?.aborted === true) throw DiskError.cancelled(signal);
  call('syncfs', `of ${folder}`, target.fd);
  return { device: files.device, ...copying.counts, leftOut: copying.leftOut.list };
}

/** Something that is copied to a name in the folder. */
export interface Source {
  readonly name: Buffer;
  /** From the root of the filesystem, for messages. */
  readonly path: Buffer;
  readonly open: () => Promise<FileObject>;
}

async function findSources(
  { leftOut, context: { signal } }: Copying,
  filesystem: Filesystem,
  paths: readonly string[],
): Promise<readonly Source[]> {
  const found = new Map<string, Source>();
  const add = (source: Source) => {
    const key = source.name.toString('latin1');
    const other = found.get(key);
    if (other !== undefined) {
      const words = `${other.path.toString()} and ${source.path.toString()} have one name: copy them one after another`;
      throw new DiskError('USAGE', words);
    }
    found.set(key, source);
  };
  for (const path of paths) {
    const file = await filesystem.open(path, { follow: false, signal });
    const name = Buffer.from(lastName(path));
    if (name.length > 0) {
      add({ name, path: Buffer.from(path), open: () => Promise.resolve(file) });
      continue;
    }
    const root = Buffer.from('/');
    try {
      for await (const entry of file.entries({ signal })) {
        add({ name: entry.name, path: childPath(root, entry.name), open: () => entry.open({ signal }) });
      }
    } catch (error) {
      if (!hasCode(error, 'CORRUPT')) throw error;
      leftOut.add(root, error.message, restOfDirectory);
    }
  }
  return [...found.values()];
}

/** Empty for the root. @throws {DiskError} USAGE when it is no name */
function lastName(path: string): string {
  const name = path.split('/').findLast((part) => part !== '' && part !== '.') ?? '';
  if (name === '' || isPlainName(Buffer.from(name))) return name;
  throw new DiskError('USAGE', `${path} ends in no name: write it without ".."`);
}

export function taken(folder: string, name: Buffer): DiskError {
  const path = `${folder}/${name.toString()}`;
  return new DiskError('UNSAFE', `${path} is there already: choose another folder, or replace it with --force`, {
    device: path,
    errno: 'EEXIST',
    reason: 'output-exists',
  });
}
