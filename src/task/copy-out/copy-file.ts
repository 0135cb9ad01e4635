import { closeSync } from 'node:fs';
import { toNumber } from '../../binary/convert.js';
import type { FileObject } from '../../filesystem/file.js';
import { errnoOf } from '../../host/errno.js';
import { call } from '../../host/libc.js';
import { writeAt } from '../../host/positioned.js';
import { type MadeFile, madeFile, type TreeFolder } from '../../host/tree-folder.js';
import { dataPieces } from '../data-pieces.js';
import { applyAttributes } from '../output/attributes.js';
import type { Source } from './copy-out.js';
import type { Copying } from './copying.js';
import { allTaken, replaceBy, temporaryNames } from './take-name.js';

/**
 * Copies a regular file. It has no name until it is whole, or where there are no nameless files a temporary one.
 *
 * @returns what was made, by its descriptor: somebody else may take its name at any time
 * @throws {DiskError} as {@link FileObject}; IO, EEXIST when the name is taken
 */
export async function copyFile(
  copying: Copying,
  target: TreeFolder,
  source: Source,
  file: FileObject,
): Promise<MadeFile> {
  const { name, path } = source;
  const { onWarning = () => {} } = copying.context;
  const lost = (attribute: string, errno: string) => copying.lose(path, attribute, errno);
  const kept = await copying.attributesOf(path, file);
  const { fd, temporary } = open(target, name);
  let named = false;
  try {
    await fill(copying, fd, source, file);
    await applyAttributes(fd, kept, `${target.name}/${name.toString()}`, onWarning, lost);
    takeName(copying, target, fd, name, temporary);
    named = true;
    copying.counts.files++;
    return madeFile(fd);
  } finally {
    closeSync(fd);
    if (!named && temporary !== undefined) target.remove(temporary);
  }
}

function open(target: TreeFolder, name: Buffer): { readonly fd: number; readonly temporary: Buffer | undefined } {
  const fd = target.createNameless();
  if (fd !== undefined) return { fd, temporary: undefined };
  for (const temporary of temporaryNames(name)) {
    try {
      return { fd: target.create(temporary), temporary };
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
  }
  throw allTaken(target);
}

async function fill(copying: Copying, fd: number, { path }: Source, file: FileObject): Promise<void> {
  const { signal } = copying.context;
  const { buffer } = copying;
  await using content = await file.content({ signal });
  const what = path.toString();
  call('ftruncate', `of the copy of ${what}`, fd, content.facts.size);
  for await (const { offset, length } of dataPieces(content, BigInt(buffer.length), signal)) {
    const piece = buffer.subarray(0, toNumber(length));
    await content.read(piece, offset, { signal });
    await writeAt(fd, piece, offset, `the copy of ${what}`);
    copying.progress(length);
  }
}

function takeName(
  { force }: Copying,
  target: TreeFolder,
  fd: number,
  name: Buffer,
  temporary: Buffer | undefined,
): void {
  if (temporary !== undefined) target.rename(temporary, name, { replace: force });
  else if (!force || target.stat(name) === undefined) target.nameFile(fd, name);
  else replaceBy(target, name, (other) => target.nameFile(fd, other));
}
