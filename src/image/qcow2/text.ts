/**
 * A name in the image's file, up to its first NUL, which is where QEMU sees it end; undefined when nothing is left.
 * What is not UTF-8 becomes replacement characters.
 */
export function nameText(view: DataView, offset: number, length: number): string | undefined {
  const text = Buffer.from(view.buffer, view.byteOffset + offset, length).toString('utf8');
  const end = text.indexOf('\0');
  const name = end === -1 ? text : text.slice(0, end);
  return name === '' ? undefined : name;
}
