import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { wrapSystemError } from './errno.js';

/** A place for a unix socket that nobody else can reach; gone when it is disposed of. */
export class PrivateSocket implements AsyncDisposable {
  private constructor(
    private readonly folder: string,
    readonly path: string,
  ) {}

  static async create(): Promise<PrivateSocket> {
    // mkdtemp makes it for its owner alone.
    const folder = await mkdtemp(join(tmpdir(), 'disktool-')).catch((error: unknown) => {
      throw wrapSystemError(`make a folder in ${tmpdir()}`, error);
    });
    return new PrivateSocket(folder, join(folder, 'socket'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
