/**
 * Where a Zstandard frame ends, without decompressing it: who keeps one in a room of whole sectors knows only where it
 * starts. RFC 8878, section 3.1.
 */

const magic = 0xfd2fb528;
/** Any of sixteen: the low four bits are the user's. */
const skippableMagic = 0x184d2a50;
/** Bytes of the identifier and of the content size, by their flags. */
const dictionarySizes: readonly number[] = [0, 1, 2, 4];
const contentSizeSizes: readonly number[] = [0, 2, 4, 8];

export interface ZstdFrame {
  /** Bytes that the frame takes. */
  readonly length: number;
  /** Bytes that come of it, if it says so. None of a frame that is to be skipped. */
  readonly contentSize: number | undefined;
  /** Bytes of what came before that a decoder must keep. */
  readonly windowSize: number;
}

/**
 * Measures the frame at `start`.
 *
 * @throws {RangeError} when no frame lies there, or not all of it
 */
export function measureZstdFrame(bytes: DataView, start: number): ZstdFrame {
  const signature = bytes.getUint32(start, true);
  if ((signature & 0xffff_fff0) >>> 0 === skippableMagic) {
    const length = 8 + bytes.getUint32(start + 4, true);
    checkEnd(bytes, start + length);
    return { length, contentSize: 0, windowSize: 0 };
  }
  if (signature !== magic) throw new RangeError('no Zstandard frame');
  const descriptor = bytes.getUint8(start + 4);
  const single = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x08) !== 0) throw new RangeError('a reserved bit of the frame header is set');
  let at = start + 5;
  let windowSize = 0;
  if (!single) {
    const window = bytes.getUint8(at++);
    const base = 2 ** (10 + (window >>> 3));
    windowSize = base + (base / 8) * (window & 7);
  }
  at += dictionarySizes[descriptor & 3] ?? 0;
  const size = contentSizeSizes[descriptor >>> 6] || (single ? 1 : 0);
  const contentSize = size === 0 ? undefined : readContentSize(bytes, at, size);
  if (single) windowSize = contentSize ?? 0;
  at += size;
  for (let last = false; !last; ) {
    const header = bytes.getUint16(at, true) | (bytes.getUint8(at + 2) << 16);
    last = (header & 1) === 1;
    const kind = (header >>> 1) & 3;
    if (kind === 3) throw new RangeError('a block of a reserved kind');
    // A run of one byte is stored as that byte.
    at += 3 + (kind === 1 ? 1 : header >>> 3);
  }
  if ((descriptor & 0x04) !== 0) at += 4;
  checkEnd(bytes, at);
  return { length: at - start, contentSize, windowSize };
}

function readContentSize(bytes: DataView, at: number, size: number): number {
  if (size === 1) return bytes.getUint8(at);
  if (size === 2) return 256 + bytes.getUint16(at, true);
  if (size === 4) return bytes.getUint32(at, true);
  return Number(bytes.getBigUint64(at, true));
}

function checkEnd(bytes: DataView, end: number): void {
  if (end > bytes.byteLength) throw new RangeError('the frame is cut short');
}
