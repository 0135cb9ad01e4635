import type { BlockMap } from '../../task/block-map/block-map.js';
import type { BlockMapCounts, NotSurveyed } from '../../task/block-map/survey.js';
import { toJsonLine } from '../json.js';
import { pathText, textDocument } from '../path-text.js';

/** The number of the only disk. */
const disk = 1;

/** As virt-bmap writes it: number of the disk, start and end in hexadecimal, kind, device, path. */
export async function* mapAsLines({ lines }: BlockMap): AsyncGenerator<string, void, undefined> {
  for (const { start, end, kind, device, path } of lines) {
    const name = path === undefined ? '' : ` ${pathText(path)}`;
    yield `${disk} ${start.toString(16)} ${end.toString(16)} ${kind} ${device}${name}\n`;
  }
}

/** One document, a line an extent. */
export async function* blockMapAsJson({ counts, lines, leftOut }: BlockMap): AsyncGenerator<string, void, undefined> {
  let before = `{\n  "counts": ${toJsonLine(counts)},\n  "leftOut": ${toJsonLine(notSurveyedDocument(leftOut))},\n  "lines": [`;
  for (const { path, ...line } of lines) {
    yield `${before}\n    ${toJsonLine({ disk, ...line, ...textDocument('path', path) })}`;
    before = ',';
  }
  yield '\n  ]\n}\n';
}

/** For `--json`. */
export function notSurveyedDocument(leftOut: readonly NotSurveyed[]): readonly object[] {
  return leftOut.map(({ device, path, reason }) => ({ device, ...textDocument('path', path), reason }));
}

export function describeCounts({
  partitions,
  logicalVolumes,
  filesystems,
  directories,
  files,
}: BlockMapCounts): string {
  const one = (count: number, singular: string, plural: string) => `${count} ${count === 1 ? singular : plural}`;
  return [
    one(partitions, 'partition', 'partitions'),
    one(logicalVolumes, 'logical volume', 'logical volumes'),
    one(filesystems, 'filesystem', 'filesystems'),
    one(directories, 'directory', 'directories'),
    one(files, 'file', 'files'),
  ].join(', ');
}
