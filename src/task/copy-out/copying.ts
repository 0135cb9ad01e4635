import { hasCode } from '../../error/disk-error.js';
import type { FileAttributes, FileObject, Xattr } from '../../filesystem/file.js';
import { alignedBuffer } from '../../host/aligned-buffer.js';
import type { MadeFile, TreeFolder } from '../../host/tree-folder.js';
import type { TaskContext } from '../context.js';
import { damagedXattrs, LeftOutFiles } from '../left-out.js';
import type { Attributes } from '../output/attributes.js';

/** How many there are of each. */
export interface CopyOutCounts {
  readonly files: number;
  readonly directories: number;
  readonly symlinks: number;
  /** Further names of files that were copied already. */
  readonly hardLinks: number;
  /** Devices, fifos and sockets. */
  readonly special: number;
  /** Bytes of content that were written. */
  readonly written: bigint;
}

/** Where a file lies in the folder that all is copied to. */
export interface Copied {
  readonly folders: readonly Buffer[];
  readonly name: Buffer;
  /** Of what was made there. */
  readonly identity: MadeFile;
}

/** Bytes a request. */
const requestSize = 2 << 20;

/** What is known while files are copied out. */
export class Copying {
  readonly counts = { files: 0, directories: 0, symlinks: 0, hardLinks: 0, special: 0, written: 0n };
  readonly leftOut: LeftOutFiles;
  /** The first name of each file that has several, by its id. */
  readonly copied = new Map<bigint, Copied>();
  readonly buffer = alignedBuffer(requestSize);
  /** Extended attributes that could not be kept, by name and errno: there may be one of each file. */
  readonly #lost = new Map<string, { count: number; readonly path: string }>();

  constructor(
    readonly root: TreeFolder,
    readonly force: boolean,
    private readonly phase: string,
    readonly context: TaskContext,
  ) {
    this.leftOut = new LeftOutFiles(context.onWarning);
  }

  progress(bytes: bigint): void {
    this.counts.written += bytes;
    this.context.onProgress?.({ phase: this.phase, done: this.counts.written });
  }

  lose(path: Buffer, attribute: string, errno: string): void {
    const key = `${attribute} (${errno})`;
    const known = this.#lost.get(key);
    if (known === undefined) this.#lost.set(key, { count: 1, path: path.toString() });
    else known.count++;
  }

  /** What the copy of a file is to keep. Extended attributes that are damaged are told, and take nothing else with them. */
  async attributesOf(path: Buffer, file: FileObject): Promise<Attributes> {
    const { signal } = this.context;
    const xattrs = await file.xattrs({ signal }).catch((error: unknown): readonly Xattr[] => {
      if (!hasCode(error, 'CORRUPT', 'UNSUPPORTED')) throw error;
      this.leftOut.add(path, error.message, damagedXattrs);
      return [];
    });
    return keptOf(file.attributes, xattrs, (attribute) => this.lose(path, attribute, 'EINVAL'));
  }

  tellLosses(): void {
    for (const [what, { count, path }] of this.#lost) {
      const others = count === 1 ? '' : ` and ${count - 1} more`;
      this.context.onWarning?.(`the attribute ${what} is not kept, of ${path}${others}`);
    }
  }
}

/** What a copy keeps of a file. */
function keptOf(
  { mode, uid, gid, atimeNs, mtimeNs }: FileAttributes,
  xattrs: readonly Xattr[],
  onUnnamed: (name: string) => void,
): Attributes {
  const values = new Map<string, Uint8Array>();
  for (const { name, value } of xattrs) {
    const text = name.toString();
    // The call takes text.
    if (Buffer.from(text).equals(name)) values.set(text, value);
    else onUnnamed(text);
  }
  return { mode, uid, gid, atimeNs, mtimeNs, xattrs: values };
}
