import type { RequestOptions } from '../device/block-device.js';
import { DiskError } from '../error/disk-error.js';
import type { DirectoryEntry, FileObject } from './file.js';
import type { LookupOptions, WalkEntry, WalkOptions } from './filesystem.js';

/** What every filesystem does alike once it has a root: paths, symbolic links and walks. */

/** Symbolic links that one path may lead through: MAXSYMLINKS of the kernel. */
const largestLinkCount = 40;
/** Levels of folders: far more than any path that a program can open has. */
const largestDepth = 4096;

/** What is asked of a tree. */
export interface Tree {
  /** For errors: `ext4 on slice[…] of a.img`. */
  readonly name: string;
  readonly root: FileObject;
}

/**
 * Finds a file by its path. Symbolic links on the way lead within the tree: an absolute one begins at its root, and no
 * `..` leads above that.
 *
 * @throws {DiskError} NOT_FOUND when it is not there; CORRUPT, IO, CANCELLED
 */
export async function lookUp(tree: Tree, path: string, options: LookupOptions = {}): Promise<FileObject> {
  const { follow = true, ...request } = options;
  const trail: FileObject[] = [tree.root];
  // What is left to go, the next part last.
  const left = partsOf(Buffer.from(path)).reverse();
  let links = 0;
  for (let part = left.pop(); part !== undefined; part = left.pop()) {
    const here = trail.at(-1) ?? tree.root;
    if (here.type !== 'directory') throw notFound(tree, path, 'a part of it is no directory');
    if (part.equals(dot)) continue;
    if (part.equals(dotDot)) {
      if (trail.length > 1) trail.pop();
      continue;
    }
    const found = await (await here.find(part, request))?.open(request);
    if (found === undefined) throw notFound(tree, path, 'there is no such file');
    const last = left.length === 0;
    if (found.type !== 'symlink' || (last && !follow)) trail.push(found);
    else {
      if (++links > largestLinkCount) throw notFound(tree, path, 'symbolic links lead in a circle');
      const target = await found.linkTarget(request);
      if (target[0] === slash) trail.length = 1;
      left.push(...partsOf(target).reverse());
    }
  }
  return trail.at(-1) ?? tree.root;
}

const slash = 0x2f;
const dot = Buffer.from('.');
const dotDot = Buffer.from('..');

/** What stands between slashes; behind one at the end stands `.`, so that what is before it is followed, and a directory. */
function partsOf(path: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let start = 0; start < path.length; ) {
    const at = path.indexOf(slash, start);
    const end = at === -1 ? path.length : at;
    if (end > start) parts.push(path.subarray(start, end));
    start = end + 1;
  }
  if (parts.length > 0 && path.at(-1) === slash) parts.push(dot);
  return parts;
}

function notFound({ name }: Tree, path: string, why: string): DiskError {
  return new DiskError('NOT_FOUND', `${path}: ${why} (${name})`, { device: name });
}

/** A directory whose entries are being walked. */
interface Level {
  readonly entries: ReturnType<FileObject['entries']>;
  readonly path: Buffer;
}

/**
 * Every name in a tree, each directory before what is in it. It ends: no directory is entered twice, and each has an
 * end.
 *
 * @throws {DiskError} as {@link lookUp}; CORRUPT for a directory that has two names
 */
export async function* walkTree(tree: Tree, options: WalkOptions = {}): AsyncGenerator<WalkEntry, void, undefined> {
  const { from = '/', depth = Number.POSITIVE_INFINITY, sorted = false, follow, ...request } = options;
  const start = await lookUp(tree, from, { follow, ...request });
  const entriesOf = (file: FileObject) => (sorted ? byName(file, request) : file.entries(request));
  const path = Buffer.concat([Buffer.of(slash), joinParts(partsOf(Buffer.from(from)))]);
  yield { path, file: start };
  if (start.type !== 'directory' || depth < 1) return;
  const levels: Level[] = [{ entries: entriesOf(start), path }];
  const seen = new Set([start.id]);
  try {
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      stopIfAborted(request);
      const next = await level.entries.next();
      if (next.done === true) {
        levels.pop();
        continue;
      }
      const file = await next.value.open(request);
      const below = childPath(level.path, next.value.name);
      yield { path: below, file };
      if (file.type !== 'directory') continue;
      checkNew(tree, seen, file, below);
      if (levels.length < depth) levels.push({ entries: entriesOf(file), path: below });
      if (levels.length > largestDepth) throw tooDeep(tree, below);
    }
  } finally {
    for (const { entries } of levels) await entries.return();
  }
}

async function* byName(file: FileObject, options: RequestOptions): ReturnType<FileObject['entries']> {
  const entries: DirectoryEntry[] = [];
  for await (const entry of file.entries(options)) entries.push(entry);
  yield* entries.sort((a, b) => Buffer.compare(a.name, b.name));
}

function stopIfAborted({ signal }: RequestOptions): void {
  if (signal?.aborted === true) throw DiskError.cancelled(signal);
}

function checkNew({ name }: Tree, seen: Set<bigint>, { id }: FileObject, path: Buffer): void {
  if (!seen.has(id)) {
    seen.add(id);
    return;
  }
  const place = { structure: `directory ${path.toString()}`, device: name, field: 'inode' };
  throw DiskError.corrupt({ ...place, actual: `${id}, which has another name too`, expected: 'one of its own' });
}

function tooDeep({ name }: Tree, path: Buffer): DiskError {
  const start = path.subarray(0, 100).toString();
  return new DiskError(
    'UNSUPPORTED',
    `${name}: more than ${largestDepth} folders lie in each other, from ${start}… on`,
  );
}

function joinParts(parts: readonly Buffer[]): Buffer {
  const kept = parts.filter((part) => !part.equals(dot));
  return kept.reduce((path, part) => (path.length === 0 ? part : childPath(path, part)), Buffer.alloc(0));
}

/** The path of a name in a directory. */
export function childPath(directory: Buffer, name: Buffer): Buffer {
  const length = directory.length === 1 && directory[0] === slash ? 0 : directory.length;
  const path = Buffer.allocUnsafe(length + 1 + name.length);
  directory.copy(path);
  path[length] = slash;
  name.copy(path, length + 1);
  return path;
}
