import { DiskError } from '../error/disk-error.js';
import { rootId } from './on-wire.js';

/** A file by its path below the mount point: `VG/LV`; empty: the mount point itself is that file. */
export interface Placed<File> {
  readonly path: string;
  readonly file: File;
}

export type Node<File> = FileNode<File> | FolderNode<File>;

export interface FileNode<File> {
  readonly kind: 'file';
  readonly id: bigint;
  readonly file: File;
}

export interface FolderNode<File> {
  readonly kind: 'folder';
  readonly id: bigint;
  readonly parent: bigint;
  readonly entries: Map<string, Node<File>>;
}

/** All that a mount shows, which stays the same as long as it is there. */
export class Tree<File> {
  readonly #nodes = new Map<bigint, Node<File>>();

  /** @throws {DiskError} USAGE when two would have one name */
  constructor(files: readonly Placed<File>[]) {
    const [first, ...others] = files;
    if (first?.path === '' && others.length === 0) {
      this.#nodes.set(rootId, { kind: 'file', id: rootId, file: first.file });
      return;
    }
    const root = this.#folder(rootId);
    for (const { path, file } of files) this.#place(root, path, file);
  }

  get(id: bigint): Node<File> | undefined {
    return this.#nodes.get(id);
  }

  files(): File[] {
    return [...this.#nodes.values()].flatMap((node) => (node.kind === 'file' ? [node.file] : []));
  }

  #place(root: FolderNode<File>, path: string, file: File): void {
    const names = path.split('/');
    const last = names.pop() ?? '';
    let folder = root;
    for (const name of names) {
      const found = folder.entries.get(name) ?? this.#folder(folder.id);
      if (found.kind === 'file') throw taken(path);
      folder.entries.set(name, found);
      folder = found;
    }
    if (folder.entries.has(last)) throw taken(path);
    const node: FileNode<File> = { kind: 'file', id: this.#nextId(), file };
    this.#nodes.set(node.id, node);
    folder.entries.set(last, node);
  }

  #folder(parent: bigint): FolderNode<File> {
    const folder: FolderNode<File> = { kind: 'folder', id: this.#nextId(), parent, entries: new Map() };
    this.#nodes.set(folder.id, folder);
    return folder;
  }

  #nextId(): bigint {
    return rootId + BigInt(this.#nodes.size);
  }
}

function taken(path: string): DiskError {
  return new DiskError('USAGE', `two things would be named ${path}`);
}
