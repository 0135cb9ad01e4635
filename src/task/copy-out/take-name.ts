import { DiskError } from '../../error/disk-error.js';
import { errnoOf } from '../../host/errno.js';
import type { TreeFolder } from '../../host/tree-folder.js';

/** How many are tried; those that are taken were left by processes with our number. */
const attempts = 100;

/** Hidden names that fit where a name does. */
export function* temporaryNames(name: Buffer): Generator<Buffer> {
  // 180 bytes of it leave room for the rest within the 255 of most filesystems.
  const start = Buffer.concat([Buffer.from('.'), name.subarray(0, 180), Buffer.from(`.disktool-${process.pid}`)]);
  for (let i = 0; i < attempts; i++) yield Buffer.concat([start, Buffer.from(i === 0 ? '' : `-${i}`)]);
}

/**
 * Makes something under a temporary name, and puts it in the place of whatever has the name.
 *
 * @throws {DiskError} IO, EISDIR when that is a folder
 */
export function replaceBy(target: TreeFolder, name: Buffer, make: (temporary: Buffer) => void): void {
  for (const temporary of temporaryNames(name)) {
    try {
      make(temporary);
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') continue;
      throw error;
    }
    try {
      target.rename(temporary, name, { replace: true });
      return;
    } catch (error) {
      target.remove(temporary);
      throw error;
    }
  }
  throw allTaken(target);
}

export function allTaken({ name: device }: TreeFolder): DiskError {
  const words = `${device}: every temporary name is taken: remove what earlier copies left`;
  return new DiskError('IO', words, { device, errno: 'EEXIST' });
}
