import type { RequestOptions } from '../device/block-device.js';
import { DiskError, hasCode } from '../error/disk-error.js';
import type { DirectoryEntry, FileObject } from './file.js';
import type { DamagedEntry, LookupOptions, WalkEntry, WalkOptions } from './filesystem.js';

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
 * @throws {DiskError} as {@link lookUp}; CORRUPT for a directory that has two names; with `onDamaged`, only where it begins
 */
export async function* walkTree(tree: Tree, options: WalkOptions = {}): AsyncGenerator<WalkEntry, void, undefined> {
  const { from = '/', depth = Number.POSITIVE_INFINITY, sorted = false, follow, onDamaged, ...request } = options;
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
      const { entries, path: directory } = level;
      const rest = { path: directory, what: 'rest of directory' } as const;
      const next = await unlessDamaged(() => entries.next(), rest, onDamaged);
      if (next === undefined || next.done === true) {
        levels.pop();
        continue;
      }
      const entry = next.value;
      const below = childPath(directory, entry.name);
      const file = await unlessDamaged(() => entry.open(request), { path: below, what: 'file' }, onDamaged);
      if (file === undefined) continue;
      if (file.type === 'directory') {
        const enter = () => checkEnterable(tree, seen, levels.length, file, below);
        if ((await unlessDamaged(enter, { path: below, what: 'file' }, onDamaged)) === undefined) continue;
      }
      yield { path: below, file };
      if (file.type === 'directory' && levels.length < depth) {
        levels.push({ entries: entriesOf(file), path: below });
      }
    }
  } finally {
    for (const { entries } of levels) await entries.return();
  }
}

/** @returns what `step` does; undefined when it came to something damaged, and that has been told */
async function unlessDamaged<Result>(
  step: () => Result | Promise<Result>,
  what: Omit<DamagedEntry, 'error'>,
  onDamaged: WalkOptions['onDamaged'],
): Promise<Result | undefined> {
  try {
    return await step();
  } catch (error) {
    if (onDamaged === undefined || !hasCode(error, 'CORRUPT', 'UNSUPPORTED')) throw error;
    onDamaged({ ...what, error });
    return undefined;
  }
}

/** Of a directory that is damaged, what can be read of it comes before the error. */
async function* byName(file: FileObject, options: RequestOptions): ReturnType<FileObject['entries']> {
  const entries: DirectoryEntry[] = [];
  let failure: unknown;
  try {
    for await (const entry of file.entries(options)) entries.push(entry);
  } catch (error) {
    if (!hasCode(error, 'CORRUPT', 'UNSUPPORTED')) throw error;
    failure = error;
  }
  yield* entries.sort((a, b) => Buffer.compare(a.name, b.name));
  if (failure !== undefined) throw failure;
}

function stopIfAborted({ signal }: RequestOptions): void {
  if (signal?.aborted === true) throw DiskError.cancelled(signal);
}

/** @returns true; else it throws why the directory must not be entered, and so makes the walk end */
function checkEnterable(tree: Tree, seen: Set<bigint>, depth: number, { id }: FileObject, path: Buffer): true {
  const { name } = tree;
  if (depth >= largestDepth) throw tooDeep(tree, path);
  if (!seen.has(id)) {
    seen.add(id);
    return true;
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
