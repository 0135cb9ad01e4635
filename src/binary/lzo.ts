/**
 * Decompresses one block of LZO1X, up to the mark of its end: "LZO stream format as understood by Linux' LZO
 * decompressor" (Documentation/staging/lzo.rst), version 0 of the bitstream.
 *
 * @returns bytes that came of it, at the start of `output`
 * @throws {RangeError} when it is damaged, or more comes of it than `output` has room for
 */
export function decompressLzo(input: Uint8Array, output: Uint8Array): number {
  let at = 0;
  let filled = 0;
  /** Literals that the last instruction copied: 1 to 3 behind a match, 4 for any longer run. */
  let state = 0;
  const next = (): number => {
    const byte = input[at++];
    if (byte === undefined) throw new RangeError('the block is cut short');
    return byte;
  };
  const pair = () => next() | (next() << 8);
  /** A length that does not fit its instruction: 255 for each zero byte, and what follows them. */
  const longer = (bits: number, most: number): number => {
    if (bits !== 0) return bits;
    for (let length = most; ; length += 255) {
      const byte = next();
      if (byte !== 0) return length + byte;
    }
  };
  const literals = (count: number) => {
    if (at + count > input.length || filled + count > output.length) throw new RangeError('literals pass the end');
    output.set(input.subarray(at, at + count), filled);
    at += count;
    filled += count;
    state = Math.min(count, 4);
  };
  const match = (distance: number, length: number, more: number) => {
    if (distance > filled || filled + length > output.length) throw new RangeError('a match passes an end');
    // It may reach into itself.
    for (const end = filled + length; filled < end; filled++) output[filled] = output[filled - distance] ?? 0;
    literals(more);
  };
  const first = input[0] ?? 0;
  if (first === 17 && input.length >= 5) throw new RangeError('another version of the bitstream');
  if (first > 17) literals(next() - 17);
  for (;;) {
    const code = next();
    if (code >= 64) {
      const length = code >= 128 ? 5 + ((code >> 5) & 3) : 3 + ((code >> 5) & 1);
      match((next() << 3) + ((code >> 2) & 7) + 1, length, code & 3);
    } else if (code >= 32) {
      const length = 2 + longer(code & 31, 31);
      const word = pair();
      match((word >> 2) + 1, length, word & 3);
    } else if (code >= 16) {
      const length = 2 + longer(code & 7, 7);
      const word = pair();
      const distance = 16_384 + ((code & 8) << 11) + (word >> 2);
      if (distance === 16_384) return filled;
      match(distance, length, word & 3);
    } else if (state === 0) literals(3 + longer(code, 15));
    else {
      const distance = (next() << 2) + (code >> 2);
      if (state === 4) match(distance + 2049, 3, code & 3);
      else match(distance + 1, 2, code & 3);
    }
  }
}
