import * as zlib from 'node:zlib';
import { viewOf } from '../binary/layout.js';
import { measureZstdFrame } from '../binary/zstd-frame.js';
import { type DecodeFrame, type EncodeFrame, loadLibzstd, type ZstdFrames, zstdLevel } from './libzstd.js';

/**
 * Zstandard, by one of three: libzstd of this process or of the host, Node's own (22.15 and later), or libzstd as
 * WebAssembly, which is always there. Nothing else need know which of them it was.
 */
export type ZstdCodec = 'libzstd' | 'node' | 'wasm';

type NodeFunction = (
  bytes: Uint8Array,
  options: { maxOutputLength?: number; params?: Record<number, number>; pledgedSrcSize?: number },
  done: (error: Error | null, result: Uint8Array) => void,
) => void;

function isFunction(value: unknown): value is NodeFunction {
  return typeof value === 'function';
}

/** Bytes: what every decoder must be ready to keep (RFC 8878, 3.1.1.1.2), and ours do at most. */
const largestWindow = 8 << 20;

/** ZSTD_c_compressionLevel. */
const levelParameter = 100;

function callNode(call: NodeFunction, bytes: Uint8Array, options: Parameters<NodeFunction>[1]): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    call(bytes, options, (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    });
  });
}

function placeFrame(frame: Uint8Array, into: Uint8Array): number | undefined {
  if (frame.length > into.length) return undefined;
  into.set(frame);
  return frame.length;
}

const byNode = (decompress: NodeFunction, compress: NodeFunction): ZstdFrames => ({
  decode: (frame, most) => callNode(decompress, frame, { maxOutputLength: Math.max(1, most) }),
  async encode(bytes, into) {
    const options = { params: { [levelParameter]: zstdLevel }, pledgedSrcSize: bytes.length };
    return placeFrame(await callNode(compress, bytes, options), into);
  },
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

const encodeByWasm: EncodeFrame = async (bytes, into) => {
  wasm ??= loadWasm();
  const { compress } = await wasm;
  return placeFrame(compress(bytes, zstdLevel), into);
};

const byWasm: ZstdFrames = { decode: decodeByWasm, encode: encodeByWasm };

let found: ReadonlyMap<ZstdCodec, ZstdFrames> | undefined;

/** The quickest first: to decompress 64 KiB 0.1, 0.2 to 0.4 and 0.5 ms, the last of them on this thread. */
function codecs(): ReadonlyMap<ZstdCodec, ZstdFrames> {
  if (found !== undefined) return found;
  const all = new Map<ZstdCodec, ZstdFrames>();
  const libzstd = loadLibzstd();
  if (libzstd !== undefined) all.set('libzstd', libzstd);
  const decompress: unknown = 'zstdDecompress' in zlib ? zlib.zstdDecompress : undefined;
  const compress: unknown = 'zstdCompress' in zlib ? zlib.zstdCompress : undefined;
  if (isFunction(decompress) && isFunction(compress)) all.set('node', byNode(decompress, compress));
  all.set('wasm', byWasm);
  found = all;
  return all;
}

/** Those that are here, the one that is used first. */
export function zstdCodecs(): ZstdCodec[] {
  return [...codecs().keys()];
}

function codec(name: ZstdCodec | undefined): ZstdFrames {
  return (name && codecs().get(name)) ?? byWasm;
}

/**
 * Compresses to one frame at the start of `into`, which says how many bytes come of it. Both are left alone until it settles.
 *
 * @returns bytes; undefined when they would not fit, or so barely that there is no telling
 */
export function zstdCompressInto(
  bytes: Uint8Array,
  into: Uint8Array,
  name: ZstdCodec | undefined = zstdCodecs()[0],
): Promise<number | undefined> {
  return codec(name).encode(bytes, into);
}

/**
 * Decompresses frame after frame until `size` bytes have come of them. What lies behind is not looked at.
 *
 * @throws {Error} when they are damaged, or end before or behind `size` bytes
 */
export async function zstdDecompress(
  bytes: Uint8Array,
  size: number,
  name: ZstdCodec | undefined = zstdCodecs()[0],
): Promise<Uint8Array> {
  const { decode } = codec(name);
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

/**
 * Decompresses the frame that bytes begin with. What lies behind it is not looked at.
 *
 * @param most bytes that may come of it
 * @throws {Error} when it is damaged, or more comes of it
 */
export async function zstdDecompressFrame(
  bytes: Uint8Array,
  most: number,
  name: ZstdCodec | undefined = zstdCodecs()[0],
): Promise<Uint8Array> {
  const { length, contentSize, windowSize } = measureZstdFrame(viewOf(bytes), 0);
  if ((contentSize ?? 0) > most || windowSize > largestWindow) {
    throw new RangeError(`a frame of ${contentSize ?? windowSize} bytes, where ${most} are the most`);
  }
  const result = await codec(name).decode(bytes.subarray(0, length), contentSize ?? most);
  if (result.length > most) throw new RangeError(`a frame of ${result.length} bytes, where ${most} are the most`);
  return result;
}
