import type { Damage, DamagedFile, DamagedPlace } from '../../task/block-map/damage.js';
import { pathText, textDocument } from '../path-text.js';
import { notSurveyedDocument } from './block-map.js';
import { describeUnowned } from './owners.js';

/** The damaged files, a line each, then what else is hit. */
export async function* damageAsText({ files, places }: Damage): AsyncGenerator<string, void, undefined> {
  yield files.length === 0 ? 'no file is damaged\n' : line('Bytes', 'Damaged');
  for (const file of files) yield line(`${file.content + file.metadata}`, describeFile(file));
  if (places.length === 0) return;
  yield `\n${line('Bytes', 'Elsewhere')}`;
  for (const place of places) yield line(`${place.bytes}`, `${place.device} ${describePlace(place)}`);
}

function line(bytes: string, what: string): string {
  return `${bytes.padStart(12)}  ${what}\n`;
}

function describeFile({ device, paths, type, content, metadata }: DamagedFile): string {
  const [name, ...others] = paths.map(pathText);
  const notes = [
    type === 'directory' && 'a directory',
    metadata > 0n && (content === 0n ? 'its metadata' : `${metadata} of its metadata`),
    others.length > 0 && `the same as ${others.join(', ')}`,
  ].filter((note) => note !== false);
  return `${device} ${name}${notes.length === 0 ? '' : ` (${notes.join('; ')})`}`;
}

function describePlace({ kind, what = '' }: DamagedPlace): string {
  switch (kind) {
    case 'metadata':
      return `metadata: ${what}`;
    case 'swap':
      return 'swap space';
    case 'free':
      return 'free space: nothing is lost';
    case 'unread':
      return 'unwritten parts and ends of files, which nobody reads: nothing is lost';
    default:
      return describeUnowned({ kind, reason: what });
  }
}

/** In one line. */
export function summarizeDamage({ files, bad, ranges, untried }: Damage): string {
  const rest = untried === 0n ? '' : `, ${untried} of them never tried`;
  const where = `${bad} bad bytes in ${ranges} ${ranges === 1 ? 'range' : 'ranges'}${rest}`;
  return `${files.length} damaged ${files.length === 1 ? 'file' : 'files'}; ${where}`;
}

/** For `--json`. */
export function damageDocument({ files, leftOut, ...damage }: Damage): object {
  return {
    ...damage,
    files: files.map(({ device, paths, type, id: inode, content, metadata }) => ({
      device,
      paths: paths.map((path) => textDocument('path', path)),
      type,
      inode,
      bytes: content + metadata,
      content,
      metadata,
    })),
    leftOut: notSurveyedDocument(leftOut),
  };
}
