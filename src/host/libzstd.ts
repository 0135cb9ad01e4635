import koffi from 'koffi';

/** Decompresses one whole frame, of which at most `most` bytes come. */
export type DecodeFrame = (frame: Uint8Array, most: number) => Promise<Uint8Array>;

const prototype = 'size_t ZSTD_decompress(void *into, size_t capacity, const void *frame, size_t size)';

/** What the thread pool works on: koffi takes addresses, and keeps nothing alive. */
const inFlight = new Set<readonly Uint8Array[]>();

/**
 * The function in this process, else in the host's library. Never in the library when the process has it: a Node.js that
 * holds a libzstd shows its functions to all, and a library that was loaded beside it would call half of them instead of
 * its own, of another version.
 */
function find() {
  for (const library of [null, 'libzstd.so.1']) {
    try {
      return koffi.load(library).func(prototype);
    } catch {
      // The next one may have it.
    }
  }
  return undefined;
}

/** libzstd's decoder for a whole frame, if there is one: it works on koffi's threads, on several frames at once. */
export function loadLibzstd(): DecodeFrame | undefined {
  const decompress = find();
  if (decompress === undefined) return undefined;
  return (frame, most) =>
    new Promise((resolve, reject) => {
      const into = new Uint8Array(most);
      const memory = [frame, into];
      inFlight.add(memory);
      decompress.async(into, most, frame, frame.length, (error: unknown, result: number | bigint) => {
        inFlight.delete(memory);
        if (error !== null && error !== undefined) reject(error);
        // Errors are the largest numbers that there are.
        else if (result > most) reject(new Error(`libzstd: error ${BigInt.asUintN(64, -BigInt(result))}`));
        else resolve(into.subarray(0, Number(result)));
      });
    });
}
