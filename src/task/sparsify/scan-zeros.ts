import { min, roundDown, toNumber } from '../../binary/convert.js';
import type { Range } from '../../binary/range-set.js';
import { zeroRuns } from '../../binary/zeros.js';
import type { BlockDevice } from '../../device/block-device.js';
import type { TaskContext } from '../context.js';
import { inParallel } from '../in-parallel.js';

/** Bytes a read. */
const chunkSize = 1n << 20n;
/** Reads under way at once. */
const depth = 4;

/**
 * Turns whole host blocks of zeros that take room into holes.
 *
 * @returns bytes that became holes
 */
export async function scanZeros(disk: BlockDevice, context: TaskContext): Promise<bigint> {
  const total = await dataSize(disk, context.signal);
  const phase = `scanning ${disk.name} for zeros`;
  const block = disk.facts.blockSize.preferred;
  const chunks = dataChunks(disk, context.signal);
  let done = 0n;
  let freed = 0n;

  await inParallel(depth, context.signal, async (signal) => {
    const buffer = Buffer.allocUnsafeSlow(toNumber(chunkSize));
    for (let chunk = await chunks.next(); chunk.done !== true; chunk = await chunks.next()) {
      const { offset, length } = chunk.value;
      const bytes = buffer.subarray(0, toNumber(length));
      await disk.read(bytes, offset, { signal });
      const runs: Range[] = [];
      zeroRuns(bytes, block, (start, end, zero) => {
        if (zero) runs.push({ offset: offset + BigInt(start), length: BigInt(end - start) });
      });
      for (const run of runs) {
        await disk.zero(run.offset, run.length, { mayTrim: true, fast: true, signal });
        freed += run.length;
      }
      done += length;
      context.onProgress?.({ phase, done, total });
    }
  });
  return freed;
}

async function dataSize(disk: BlockDevice, signal: AbortSignal | undefined): Promise<bigint> {
  let total = 0n;
  for await (const { length, zero } of disk.extents(0n, disk.facts.size, { signal })) if (!zero) total += length;
  return total;
}

/** The data of the disk in order, cut at multiples of the chunk size, so that every cut is one between host blocks. */
async function* dataChunks(disk: BlockDevice, signal: AbortSignal | undefined): AsyncGenerator<Range, void, undefined> {
  for await (const { offset, length, zero } of disk.extents(0n, disk.facts.size, { signal })) {
    if (zero) continue;
    const end = offset + length;
    for (let start = offset; start < end; ) {
      const stop = min(roundDown(start, chunkSize) + chunkSize, end);
      yield { offset: start, length: stop - start };
      start = stop;
    }
  }
}
