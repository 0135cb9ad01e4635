import { DiskError, hasCode } from '../../error/disk-error.js';
import type { FileObject } from '../../filesystem/file.js';
import { childPath } from '../../filesystem/tree.js';
import { errnoOf } from '../../host/errno.js';
import { isPlainName, type TreeFolder } from '../../host/tree-folder.js';
import { restOfDirectory } from '../left-out.js';
import { applyAttributes } from '../output/attributes.js';
import { copyFile } from './copy-file.js';
import { copyNode, linkAgain } from './copy-node.js';
import type { Source } from './copy-out.js';
import type { Copying } from './copying.js';

/** A folder that is being filled. */
interface Level {
  readonly folder: TreeFolder;
  /** Names from the root of what is copied to here. */
  readonly folders: readonly Buffer[];
  readonly path: Buffer;
  readonly file: FileObject;
  readonly entries: ReturnType<FileObject['entries']>;
}

/** Levels of folders: a folder each is held open. */
const largestDepth = 4096;

/**
 * Copies something with all that is in it. It ends: a directory that has been entered is not entered again.
 *
 * @param target what holds its copy
 * @throws {DiskError} IO, UNSAFE, CANCELLED; what can be left out alone is left out
 */
export async function copyTree(copying: Copying, target: TreeFolder, source: Source): Promise<void> {
  const levels: Level[] = [];
  const seen = new Set<bigint>();
  const { signal } = copying.context;
  const enter = async (at: TreeFolder, folders: readonly Buffer[], next: Source) => {
    if (signal?.aborted === true) throw DiskError.cancelled(signal);
    const level = await copyOne(copying, at, folders, next, seen);
    if (level !== undefined) levels.push(level);
  };
  try {
    await enter(target, [], source);
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const next = await nextEntry(copying, level);
      if (next === undefined) {
        levels.pop();
        await finish(copying, level);
      } else await enter(level.folder, level.folders, next);
    }
  } finally {
    for (const { folder, entries } of levels) {
      folder[Symbol.dispose]();
      await entries.return();
    }
  }
}

async function nextEntry(copying: Copying, { entries, path }: Level): Promise<Source | undefined> {
  const { signal } = copying.context;
  try {
    const next = await entries.next();
    if (next.done === true) return undefined;
    const entry = next.value;
    return { name: entry.name, path: childPath(path, entry.name), open: () => entry.open({ signal }) };
  } catch (error) {
    if (!hasCode(error, 'CORRUPT')) throw error;
    copying.leftOut.add(path, error.message, restOfDirectory);
    return undefined;
  }
}

/** @returns the folder that is to be filled, when it is one */
async function copyOne(
  copying: Copying,
  target: TreeFolder,
  folders: readonly Buffer[],
  source: Source,
  seen: Set<bigint>,
): Promise<Level | undefined> {
  const { name, path } = source;
  try {
    if (!isPlainName(name)) throw leftOut('its name could lead elsewhere');
    const file = await source.open();
    if (file.refused !== undefined) throw leftOut(file.refused);
    if (file.type === 'directory') return await enterFolder(copying, target, folders, source, file, seen);
    if (await linkAgain(copying, target, name, file)) return undefined;
    const copy = file.type === 'file' ? copyFile : copyNode;
    const identity = await copy(copying, target, source, file);
    if (file.attributes.links > 1) copying.copied.set(file.id, { folders, name, identity });
    return undefined;
  } catch (error) {
    if (!(error instanceof DiskError) || !mayBeLeftOut(error)) throw error;
    copying.leftOut.add(path, error.message);
    return undefined;
  }
}

function leftOut(reason: string): DiskError {
  return new DiskError('UNSUPPORTED', reason);
}

/** What is wrong with one file, and not with the image or with where it goes. */
function mayBeLeftOut(error: DiskError): boolean {
  if (hasCode(error, 'CORRUPT', 'UNSUPPORTED', 'UNSAFE')) return true;
  return ['EPERM', 'EEXIST', 'ENAMETOOLONG', 'EINVAL', 'EILSEQ', 'ELOOP', 'ENOTDIR', 'EISDIR', 'EFBIG'].includes(
    errnoOf(error) ?? '',
  );
}

async function enterFolder(
  copying: Copying,
  target: TreeFolder,
  folders: readonly Buffer[],
  { name, path }: Source,
  file: FileObject,
  seen: Set<bigint>,
): Promise<Level> {
  if (seen.has(file.id)) throw leftOut('it is a directory that has another name too');
  if (folders.length >= largestDepth) throw leftOut(`more than ${largestDepth} folders lie in each other`);
  seen.add(file.id);
  try {
    target.makeFolder(name);
  } catch (error) {
    // With --force one that is there is filled; a link to one is no folder, and refused when it is opened.
    if (errnoOf(error) !== 'EEXIST' || !copying.force) throw error;
  }
  const folder = target.child(name);
  copying.counts.directories++;
  return {
    folder,
    folders: [...folders, name],
    path,
    file,
    entries: file.entries({ signal: copying.context.signal }),
  };
}

/** Gives a folder its attributes, once nothing more is made in it. */
async function finish(copying: Copying, { folder, path, file }: Level): Promise<void> {
  using _ = folder;
  const { onWarning = () => {} } = copying.context;
  const lost = (name: string, errno: string) => copying.lose(path, name, errno);
  const kept = await copying.attributesOf(path, file);
  await applyAttributes(folder.fd, kept, folder.name, onWarning, lost);
}
