/** A UUID as it is written: five groups of lower-case hexadecimal digits; empty when all its bytes are zero. */
export function formatUuid(bytes: Uint8Array): string {
  if (bytes.every((byte) => byte === 0)) return '';
  const digits = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
  return [
    [0, 8],
    [8, 12],
    [12, 16],
    [16, 20],
    [20, 32],
  ]
    .map(([start, end]) => digits.slice(start, end))
    .join('-');
}
