import { printable } from './printable.js';

/**
 * A file name or path of a guest for a terminal and for one line: as it is, but for backslashes, control characters and
 * what is no UTF-8, which are written as escapes, so that no two names look the same.
 */
export function pathText(path: Uint8Array): string {
  const bytes = Buffer.from(path);
  const text = bytes.toString();
  if (isText(bytes)) return printable(text.replaceAll('\\', '\\\\'));
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = [1, 2, 3, 4].find((count) => at + count <= bytes.length && isText(bytes.subarray(at, at + count)));
    const part = bytes.subarray(at, at + (length ?? 1));
    parts.push(length === undefined ? `\\x${part.toString('hex')}` : pathText(part));
    at += part.length;
  }
  return parts.join('');
}

/** Whether bytes are UTF-8, and so can stand in JSON. */
export function isText(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString()).equals(bytes);
}

/** A name or path for JSON, if there is one: where it is no UTF-8, which cannot stand there, its bytes stand beside it. */
export function textDocument(key: string, bytes: Buffer | undefined): object {
  if (bytes === undefined) return {};
  const text = { [key]: bytes.toString() };
  return isText(bytes) ? text : { ...text, [`${key}Base64`]: bytes.toString('base64') };
}
