import * as zlib from 'node:zlib';
import { viewOf } from './layout.js';
import { measureZstdFrame } from './zstd-frame.js';

/**
 * Zstandard: Node's own where it has it (22.15 and later), else libzstd as WebAssembly. Nothing else need know which
 * of them it was.
 */
export type ZstdDecoder = 'node' | 'wasm';

/** Decompresses one whole frame, of which at most `most` bytes come. */
type Decode = (frame: Uint8Array, most: number) => Promise<Uint8Array>;

type NodeDecompress = (
  bytes: Uint8Array,
  options: { maxOutputLength: number },
  done: (error: Error | null, result: Uint8Array) => void,
) => void;

function isFunction(value: unknown): value is NodeDecompress {
  return typeof value === 'function';
}

const found: unknown = 'zstdDecompress' in zlib ? zlib.zstdDecompress : undefined;
const nodeDecompress = isFunction(found) ? found : undefined;

/** Those that are here, the better one first. */
export const zstdDecoders: readonly ZstdDecoder[] = nodeDecompress === undefined ? ['wasm'] : ['node', 'wasm'];

/** Bytes: what every decoder must be ready to keep (RFC 8878, 3.1.1.1.2), and ours do at most. */
const largestWindow = 8 << 20;

const decodeByNode: Decode = (frame, most) =>
  new Promise((resolve, reject) => {
    if (nodeDecompress === undefined) throw new Error('this Node.js has no Zstandard');
    nodeDecompress(frame, { maxOutputLength: Math.max(1, most) }, (error, result) => {
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

const decodeByWasm: Decode = async (frame, most) => {
  wasm ??= loadWasm();
  const { decompress } = await wasm;
  // It makes room for what the frame's header says, and that has been checked; else for as much as may come.
  return decompress(frame, { defaultHeapSize: Math.max(1, most) });
};

/**
 * Decompresses frame after frame until `size` bytes have come of them. What lies behind is not looked at.
 *
 * @throws {Error} when they are damaged, or end before or behind `size` bytes
 */
export async function zstdDecompress(
  bytes: Uint8Array,
  size: number,
  decoder: ZstdDecoder | undefined = zstdDecoders[0],
): Promise<Uint8Array> {
  const decode = decoder === 'node' ? decodeByNode : decodeByWasm;
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
