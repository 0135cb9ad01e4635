import type { CopyOutResult } from '../../task/copy-out/copy-out.js';
import { formatSize } from '../quantities.js';
import { leftOutDocument } from './left-out.js';

/** `12 files (1.3M), 3 directories, 2 symbolic links` */
export function describeCopyOut({ files, directories, symlinks, hardLinks, special, written }: CopyOutResult): string {
  const counts = [
    count(directories, 'directory', 'directories'),
    count(symlinks, 'symbolic link'),
    count(hardLinks, 'hard link'),
    count(special, 'special file'),
  ];
  const head = `${count(files, 'file') ?? 'no file'} (${formatSize(written)})`;
  return [head, ...counts.filter((text) => text !== undefined)].join(', ');
}

function count(number: number, one: string, many = `${one}s`): string | undefined {
  return number === 0 ? undefined : `${number} ${number === 1 ? one : many}`;
}

/** For `--json`. */
export function copyOutDocument(result: CopyOutResult): object {
  return { ...result, leftOut: leftOutDocument(result.leftOut) };
}
