import type { FileObject } from '../../filesystem/file.js';
import { errnoOf } from '../../host/errno.js';
import type { MadeFile, TreeFolder } from '../../host/tree-folder.js';
import { setIds } from '../output/attributes.js';
import type { Source } from './copy-out.js';
import type { Copying } from './copying.js';
import { replaceBy } from './take-name.js';

/**
 * Copies what is neither a regular file nor a directory: a symbolic link, a device, a fifo, a socket.
 *
 * @returns what was made
 * @throws {DiskError} as {@link FileObject}; IO, EPERM for a device unless by root, EEXIST when the name is taken
 */
export async function copyNode(
  copying: Copying,
  target: TreeFolder,
  source: Source,
  file: FileObject,
): Promise<MadeFile> {
  const { name, path } = source;
  const { signal } = copying.context;
  const { type } = file;
  if (type === 'file' || type === 'directory') throw new Error(`a ${type} is no node`);
  const lost = (attribute: string, errno: string) => copying.lose(path, attribute, errno);
  const kept = await copying.attributesOf(path, file);
  const link = type === 'symlink' ? await file.linkTarget({ signal }) : undefined;
  const make = (as: Buffer) => {
    if (type === 'symlink') target.makeLink(as, link ?? Buffer.alloc(0));
    else target.makeNode(as, type, file.attributes.device);
  };
  if (copying.force && target.stat(name) !== undefined) replaceBy(target, name, make);
  else make(name);
  using made = target.hold(name, type);
  const owned = made.setOwner(kept.uid, kept.gid);
  for (const [attribute, value] of kept.xattrs) {
    const errno = made.setXattr(attribute, value);
    if (errno !== undefined) lost(attribute, errno);
  }
  if (type !== 'symlink') made.setMode(owned ? kept.mode : kept.mode & ~setIds);
  made.setTimes(kept);
  copying.counts[type === 'symlink' ? 'symlinks' : 'special']++;
  return made.identity;
}

/**
 * Gives what was copied already under another name this one as well.
 *
 * @returns false when it is to be copied: it has no other name yet, or something else has that by now, or the target cannot
 * have two of it
 * @throws {DiskError} IO, EEXIST when the name is taken
 */
export async function linkAgain(
  copying: Copying,
  target: TreeFolder,
  name: Buffer,
  { id }: FileObject,
): Promise<boolean> {
  const first = copying.copied.get(id);
  if (first === undefined) return false;
  const opened: TreeFolder[] = [];
  try {
    let from = copying.root;
    for (const part of first.folders) {
      from = from.child(part);
      opened.push(from);
    }
    using held = from.holdSame(first.name, first.identity);
    if (held === undefined) return false;
    const link = (as: Buffer) => target.makeHardLink(as, held);
    if (copying.force && target.stat(name) !== undefined) replaceBy(target, name, link);
    else link(name);
    copying.counts.hardLinks++;
    return true;
  } catch (error) {
    // Another filesystem is mounted in between, or that one has no more or no hard links.
    if (['EXDEV', 'EMLINK', 'EPERM', 'EOPNOTSUPP', 'ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) {
      return false;
    }
    throw error;
  } finally {
    for (const folder of opened) folder[Symbol.dispose]();
  }
}
