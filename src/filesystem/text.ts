/** Text in a field of fixed size: UTF-8 up to the first NUL, without white space at its end. */
export function decodeText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.subarray(0, end === -1 ? bytes.length : end))
    .toString('utf8')
    .trimEnd();
}

/** The same, in UTF-16 of low byte first. */
export function decodeUtf16(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf16le');
  const end = text.indexOf('\0');
  return (end === -1 ? text : text.slice(0, end)).trimEnd();
}
