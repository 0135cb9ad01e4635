import { max, toNumber } from '../../binary/convert.js';
import type { Range, RangeSet } from '../../binary/range-set.js';
import { zeroRuns } from '../../binary/zeros.js';
import type { BlockDevice } from '../../device/block-device.js';
import { alignedBuffer } from '../../host/aligned-buffer.js';
import type { TaskContext } from '../context.js';
import { dataPieces } from '../data-pieces.js';
import { inParallel } from '../in-parallel.js';
import { occupiedBytes } from './occupied.js';

/** Bytes a read, at least. */
const chunkSize = 1n << 20n;
/** Reads under way at once. */
const depth = 4;

/**
 * Turns whole host blocks of zeros that take room into holes: those that were written, and those that were set aside and
 * never written.
 *
 * @returns bytes that became holes
 */
export async function scanZeros(disk: BlockDevice, context: TaskContext): Promise<bigint> {
  const occupied = await occupiedBytes(disk, context.signal);
  return (await freeUnwritten(disk, occupied, context)) + (await freeWritten(disk, occupied, context));
}

async function freeUnwritten(disk: BlockDevice, occupied: RangeSet, { signal }: TaskContext): Promise<bigint> {
  let freed = 0n;
  for (const { offset, length } of occupied) {
    for await (const extent of disk.extents(offset, length, { signal })) {
      if (!extent.zero) continue;
      await disk.zero(extent.offset, extent.length, { mayTrim: true, fast: disk.facts.fastZero, signal });
      freed += extent.length;
    }
  }
  return freed;
}

async function freeWritten(disk: BlockDevice, occupied: RangeSet, context: TaskContext): Promise<bigint> {
  const { total } = occupied;
  const phase = `scanning ${disk.name} for zeros`;
  const block = disk.facts.blockSize.preferred;
  // A part of a cluster is not given back.
  const step = max(chunkSize, BigInt(block));
  const chunks = dataPieces(disk, step, context.signal, occupied);
  let done = 0n;
  let freed = 0n;
  await inParallel(depth, context.signal, async (signal) => {
    const buffer = alignedBuffer(toNumber(step));
    for (let chunk = await chunks.next(); chunk.done !== true; chunk = await chunks.next()) {
      const { offset, length } = chunk.value;
      const bytes = buffer.subarray(0, toNumber(length));
      await disk.read(bytes, offset, { signal });
      const runs: Range[] = [];
      zeroRuns(bytes, block, (start, end, zero) => {
        if (zero) runs.push({ offset: offset + BigInt(start), length: BigInt(end - start) });
      });
      for (const run of runs) {
        await disk.zero(run.offset, run.length, { mayTrim: true, fast: disk.facts.fastZero, signal });
        freed += run.length;
      }
      done += length;
      context.onProgress?.({ phase, done, total });
    }
  });
  return freed;
}
