import type { FileType } from '../../filesystem/file.js';
import type { FileListing, ListedFile } from '../../task/list-files.js';
import { toJson, toJsonLine } from '../json.js';
import { pathText, textDocument } from '../path-text.js';
import { leftOutDocument } from './left-out.js';

/** A name a line: in its directory, or with `whole` from the root. */
export async function* filesAsNames({ files }: FileListing, whole: boolean): AsyncGenerator<string, void, undefined> {
  for await (const { path } of files()) yield `${pathText(whole ? path : nameOf(path))}\n`;
}

/** As `ls -ln`, with the time in UTC and the size in bytes. */
export async function* filesAsTable({ files }: FileListing, whole: boolean): AsyncGenerator<string, void, undefined> {
  for await (const file of files()) {
    const { path, type, attributes, target, refused } = file;
    const { mode, links, uid, gid, mtimeNs, size, device } = attributes;
    const room = device === undefined ? `${size}` : `${device.major}, ${device.minor}`;
    const columns = [
      `${letters[type]}${permissions(mode)}`,
      `${links}`.padStart(3),
      `${uid}`.padStart(5),
      `${gid}`.padStart(5),
      room.padStart(11),
      isoTime(mtimeNs, 0),
      pathText(whole ? path : nameOf(path)),
    ];
    const unknown = refused === undefined ? '(damaged)' : '(encrypted)';
    const arrow = type !== 'symlink' ? '' : ` -> ${target === undefined ? unknown : pathText(target)}`;
    yield `${columns.join(' ')}${arrow}\n`;
  }
}

/** One document, an entry a file; with `long`, all that is known of it. */
export async function* filesAsJson(
  { device, files, leftOut }: FileListing,
  long: boolean,
): AsyncGenerator<string, void, undefined> {
  let before = `{\n  "device": ${JSON.stringify(device)},\n  "files": [`;
  for await (const file of files()) {
    const document = toJson(long ? longDocument(file) : shortDocument(file));
    yield `${before}\n    ${document.replaceAll('\n', '\n    ')}`;
    before = ',';
  }
  const after = `,\n  "leftOut": ${toJsonLine(leftOutDocument(leftOut))}\n}\n`;
  yield before === ',' ? `\n  ]${after}` : `${before}]${after}`;
}

function shortDocument({ path, type, id, refused }: ListedFile): object {
  return { ...textDocument('path', path), type, inode: id, refused };
}

function longDocument(file: ListedFile): object {
  const { attributes, target, xattrs } = file;
  const { mode, uid, gid, size, links, allocated, device, atimeNs, mtimeNs, ctimeNs, birthNs } = attributes;
  return {
    ...shortDocument(file),
    mode: mode.toString(8).padStart(4, '0'),
    uid,
    gid,
    size,
    links,
    allocated,
    device,
    accessed: isoTime(atimeNs, 9),
    modified: isoTime(mtimeNs, 9),
    changed: isoTime(ctimeNs, 9),
    created: birthNs === undefined ? undefined : isoTime(birthNs, 9),
    ...textDocument('target', target),
    xattrs: xattrs?.map(({ name, value }) => ({
      ...textDocument('name', name),
      valueBase64: Buffer.from(value).toString('base64'),
    })),
  };
}

function nameOf(path: Buffer): Buffer {
  const name = path.subarray(path.lastIndexOf('/') + 1);
  return name.length === 0 ? path : name;
}

const letters: Readonly<Record<FileType, string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  char: 'c',
  block: 'b',
  fifo: 'p',
  socket: 's',
};

/** `rwxr-sr-t` */
function permissions(mode: number): string {
  const bits = [...'rwxrwxrwx'].map((letter, i) => ((mode >>> (8 - i)) & 1 ? letter : '-'));
  for (const [bit, at, set, alone] of [
    [0o4000, 2, 's', 'S'],
    [0o2000, 5, 's', 'S'],
    [0o1000, 8, 't', 'T'],
  ] as const) {
    if ((mode & bit) !== 0) bits[at] = bits[at] === 'x' ? set : alone;
  }
  return bits.join('');
}

const second = 1_000_000_000n;
/** Seconds from 1970 to the ends of what a Date holds. */
const farthest = 8_640_000_000_000n;

/** `2026-11-24T10:00:00.123456789Z` */
function isoTime(ns: bigint, digits: number): string {
  const rest = ((ns % second) + second) % second;
  const seconds = (ns - rest) / second;
  const fraction = digits === 0 ? '' : `.${rest.toString().padStart(9, '0').slice(0, digits)}`;
  if (seconds < -farthest || seconds > farthest) return `@${seconds}${fraction}`;
  return new Date(Number(seconds) * 1000).toISOString().replace(/\.\d+Z$/, `${fraction}Z`);
}
