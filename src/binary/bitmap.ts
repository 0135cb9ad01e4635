/**
 * Calls `found` for each run of clear bits, in order. Bit n is bit n mod 8, counted from the lowest, of byte n / 8.
 *
 * @param count bits: those from there on, padding, are not looked at
 */
export function eachClearRun(bitmap: Uint8Array, count: number, found: (start: number, end: number) => void): void {
  let start = -1;
  for (let at = 0; at < count; ) {
    const byte = bitmap[at >>> 3] ?? 0xff;
    if ((at & 7) === 0 && at + 8 <= count && byte === (start === -1 ? 0xff : 0)) {
      // Nothing changes in this byte.
      at += 8;
      continue;
    }
    const clear = ((byte >>> (at & 7)) & 1) === 0;
    if (clear && start === -1) start = at;
    else if (!clear && start !== -1) {
      found(start, at);
      start = -1;
    }
    at++;
  }
  if (start !== -1) found(start, count);
}
