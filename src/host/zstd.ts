import * as zlib from 'node:zlib';
import { viewOf } from '../binary/layout.js';
import { measureZstdFrame } from '../binary/zstd-frame.js';
import { type DecodeFrame, loadLibzstd } from './libzstd.js';

/**
 * Zstandard, by one of three: libzstd of this process or of the host, Node's own (22.15 and later), or libzstd as
 * WebAssembly, which is always there. Nothing else need know which of them it was.
 */
export type ZstdDecoder = 'libzstd' | 'node' | 'wasm';

type NodeDecompress = (
  bytes: Uint8Array,
  options: { maxOutputLength: number },
  done: (error: Error | null, result: Uint8Array) => void,
) => void;

function isFunction(value: unknown): value is NodeDecompress {
  return typeof value === 'function';
}

/** Bytes: what every decoder must be ready to keep (RFC 8878, 3.1.1.1.2), and ours do at most. */
const largestWindow = 8 << 20;

const decodeByNode =
  (decompress: NodeDecompress): DecodeFrame =>
  (frame, most) =>
    new Promise((resolve, reject) => {
      decompress(frame, { maxOutputLength: Math.max(1, most) }, (error, result) => {
        if (error === null) resolve(result);
        else reject(error);
      });
    });

let wasm: Promise<typeof import('@bokuweb/zstd-wasm')> | undefined;

async function loadWasm() {
  const loaded = await import('@bokuweb/zstd-wasm');
  await loaded.init();
  return loaded;
}

const decodeByWasm: DecodeFrame = async (frame, most) => {
  wasm ??= loadWasm();
  const { decompress } = await wasm;
  // It makes room for what the frame's header says, and that has been checked; else for as much as may come.
  return decompress(frame, { defaultHeapSize: Math.max(1, most) });
};

let found: ReadonlyMap<ZstdDecoder, DecodeFrame> | undefined;

/** The quickest first: for 64 KiB 0.1, 0.2 to 0.4 and 0.5 ms, the last of them on this thread. */
function decoders(): ReadonlyMap<ZstdDecoder, DecodeFrame> {
  if (found !== undefined) return found;
  const all = new Map<ZstdDecoder, DecodeFrame>();
  const libzstd = loadLibzstd();
  if (libzstd !== undefined) all.set('libzstd', libzstd);
  const native: unknown = 'zstdDecompress' in zlib ? zlib.zstdDecompress : undefined;
  if (isFunction(native)) all.set('node', decodeByNode(native));
  all.set('wasm', decodeByWasm);
  found = all;
  return all;
}

/** Those that are here, the one that is used first. */
export function zstdDecoders(): ZstdDecoder[] {
  return [...decoders().keys()];
}

/**
 * Decompresses frame after frame until `size` bytes have come of them. What lies behind is not looked at.
 *
 * @throws {Error} when they are damaged, or end before or behind `size` bytes
 */
export async function zstdDecompress(
  bytes: Uint8Array,
  size: number,
  decoder: ZstdDecoder | undefined = zstdDecoders()[0],
): Promise<Uint8Array> {
  const decode = (decoder && decoders().get(decoder)) ?? decodeByWasm;
  const view = viewOf(bytes);
  let result: Uint8Array | undefined;
  let filled = 0;
  for (let at = 0; filled < size; ) {
    const { length, contentSize, windowSize } = measureZstdFrame(view, at);
    const room = size - filled;
    if (contentSize !== undefined && contentSize > room) {
      throw new RangeError(`a frame of ${contentSize} bytes, where ${room} are wanted`);
    }
    if (contentSize === undefined && windowSize > largestWindow) {
      throw new RangeError(`a window of ${windowSize} bytes, where ${largestWindow} are the most`);
    }
    if (contentSize !== 0) {
      const part = await decode(bytes.subarray(at, at + length), contentSize ?? room);
      if (part.length > room) throw new RangeError(`a frame of ${part.length} bytes, where ${room} are wanted`);
      if (part.length === size) return part;
      result ??= new Uint8Array(size);
      result.set(part, filled);
      filled += part.length;
    }
    at += length;
  }
  return result ?? new Uint8Array(0);
}
