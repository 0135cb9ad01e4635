import { min } from '../../binary/convert.js';
import type { Range } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import type { TaskContext } from '../context.js';
import type { Plan } from './plan.js';
import { batchesOf, usualBatch } from './undo/batches.js';
import type { UndoFile } from './undo/write-undo.js';

/** Bytes a call: so that a signal is heard, and progress seen, in a free range of terabytes. */
const pieceSize = 1n << 30n;

/** How a range of the disk is given back. */
type Act = (offset: bigint, length: bigint) => Promise<void>;

/**
 * Gives back what a plan says.
 *
 * @param undo keeps everything before it is given back
 */
export async function giveBack(
  disk: BlockDevice,
  { trim, wipe }: Pick<Plan, 'trim' | 'wipe'>,
  undo: UndoFile | undefined,
  context: TaskContext,
): Promise<void> {
  const { signal } = context;
  const phase = `giving back free space of ${disk.name}`;
  const given = trim.union(wipe);
  const { total } = given;
  let done = 0n;
  const each = async (ranges: Iterable<Range>, act: Act) => {
    for (const { offset, length } of ranges) {
      for (let start = 0n; start < length; start += pieceSize) {
        const piece = min(pieceSize, length - start);
        await act(offset + start, piece);
        done += piece;
        context.onProgress?.({ phase, done, total });
      }
    }
  };
  const discard: Act = (offset, length) => disk.trim(offset, length, { signal });
  const clear: Act = (offset, length) => disk.zero(offset, length, { mayTrim: true, signal });
  if (undo === undefined) {
    await each(trim, discard);
    await each(wipe, clear);
    return;
  }
  // Until it is put back it must read as zeros: what is discarded does so in a file alone.
  const kind = disk.facts.hostFile?.kind;
  const fast = kind === 'block';
  const discardToZeros: Act =
    kind === 'file' || kind === 'memory'
      ? discard
      : (offset, length) => disk.zero(offset, length, { mayTrim: true, fast, signal });
  for await (const batch of batchesOf(disk, given, usualBatch, signal)) {
    await undo.keep(disk, batch, signal).catch((error: unknown) => {
      throw withoutBatch(error);
    });
    try {
      await each(trim.within(batch.start, batch.end - batch.start), discardToZeros);
      await each(wipe.within(batch.start, batch.end - batch.start), clear);
    } catch (error) {
      // That it cannot be done is known at the first try.
      if (hasCode(error, 'UNSUPPORTED') && done === 0n) await undo.forgetUntouched(disk);
      throw error;
    }
  }
  await undo.end();
}

function withoutBatch(error: unknown): unknown {
  if (!hasCode(error, 'IO')) return error;
  const message = `${error.message}: what could not be kept was not given back`;
  return new DiskError('IO', message, { ...error.facts, cause: error });
}
