import koffi from 'koffi';
import { callOnThread, type Entry } from './native-call.js';

/** Decompresses one whole frame, of which at most `most` bytes come. */
export type DecodeFrame = (frame: Uint8Array, most: number) => Promise<Uint8Array>;

/** Compresses to one whole frame, and tells its bytes; undefined when it has not the room, or barely. */
export type EncodeFrame = (bytes: Uint8Array, into: Uint8Array) => Promise<number | undefined>;

export interface ZstdFrames {
  readonly decode: DecodeFrame;
  readonly encode: EncodeFrame;
}

const decompressPrototype = 'size_t ZSTD_decompress(void *into, size_t capacity, const void *frame, size_t size)';
const compressPrototype =
  'size_t ZSTD_compress(void *into, size_t capacity, const void *bytes, size_t size, int level)';
/** libzstd's own default. */
export const zstdLevel = 3;
/** ZSTD_error_dstSize_tooSmall. */
const tooSmall = 70n;

/**
 * The functions in this process, else in the host's library. Never in the library when the process has them: a Node.js
 * that holds a libzstd shows its functions to all, and a library that was loaded beside it would call half of them instead
 * of its own, of another version.
 */
function find(): { decompress: Entry; compress: Entry } | undefined {
  for (const name of [null, 'libzstd.so.1']) {
    try {
      const library = koffi.load(name);
      return { decompress: library.func(decompressPrototype), compress: library.func(compressPrototype) };
    } catch {
      // The next one may have it.
    }
  }
  return undefined;
}

/** Calls one that fills `into`. What it gives back is an error where that is larger than `into`. */
async function call(zstd: Entry, into: Uint8Array, from: Uint8Array, ...more: readonly number[]): Promise<bigint> {
  const result = await callOnThread(zstd, [into, into.length, from, from.length, ...more]);
  return typeof result === 'bigint' ? result : BigInt(Number(result));
}

/** Errors are the largest numbers that there are. */
const errorOf = (result: bigint) => BigInt.asUintN(64, -result);

/** libzstd for whole frames, if there is one: it works on koffi's threads, on several frames at once. */
export function loadLibzstd(): ZstdFrames | undefined {
  const functions = find();
  if (functions === undefined) return undefined;
  const { decompress, compress } = functions;
  return {
    async decode(frame, most) {
      const into = new Uint8Array(most);
      const result = await call(decompress, into, frame);
      if (result > most) throw new Error(`libzstd: error ${errorOf(result)}`);
      return into.subarray(0, Number(result));
    },
    async encode(bytes, into) {
      const result = await call(compress, into, bytes, zstdLevel);
      if (result <= into.length) return Number(result);
      if (errorOf(result) === tooSmall) return undefined;
      throw new Error(`libzstd: error ${errorOf(result)}`);
    },
  };
}
