/** One mebibyte of zeros, shared: compared against, and written from, but never written to. */
export const zeros: Buffer = Buffer.alloc(1 << 20);

/** True when every byte is zero. */
export function isZero(bytes: Uint8Array): boolean {
  for (let start = 0; start < bytes.length; start += zeros.length) {
    const end = Math.min(start + zeros.length, bytes.length);
    if (zeros.compare(bytes, start, end, 0, end - start) !== 0) return false;
  }
  return true;
}

/**
 * Calls `found` for each run of whole blocks of one kind, in order, so that the runs tile `bytes`.
 *
 * @param block bytes; the last block may be shorter
 */
export function zeroRuns(
  bytes: Uint8Array,
  block: number,
  found: (start: number, end: number, zero: boolean) => void,
): void {
  let runStart = 0;
  let runZero: boolean | undefined;
  for (let start = 0; start < bytes.length; start += block) {
    const end = Math.min(start + block, bytes.length);
    // Most blocks of data show it in their first byte.
    const zero = bytes[start] === 0 && isZero(bytes.subarray(start, end));
    if (zero !== runZero) {
      if (runZero !== undefined) found(runStart, start, runZero);
      runStart = start;
      runZero = zero;
    }
  }
  if (runZero !== undefined) found(runStart, bytes.length, runZero);
}
