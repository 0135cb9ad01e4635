import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { wrapSystemError } from './errno.js';

/** A folder that nobody else can look into; gone, with all in it, when it is disposed of. */
export class PrivateFolder implements AsyncDisposable {
  private constructor(private readonly folder: string) {}

  static async create(): Promise<PrivateFolder> {
    // mkdtemp makes it for its owner alone.
    const folder = await mkdtemp(join(tmpdir(), 'disktool-')).catch((error: unknown) => {
      throw wrapSystemError(`make a folder in ${tmpdir()}`, error);
    });
    return new PrivateFolder(folder);
  }

  /** The path of a name in it. */
  path(name: string): string {
    return join(this.folder, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
