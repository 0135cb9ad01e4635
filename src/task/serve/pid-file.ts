import { writeFile } from 'node:fs/promises';
import { wrapSystemError } from '../../host/errno.js';

/** @throws {DiskError} when it cannot be written */
export async function writePid(path: string): Promise<void> {
  await writeFile(path, `${process.pid}\n`).catch((error: unknown) => {
    throw wrapSystemError(`write the process id to ${path}`, error);
  });
}
