import type { Range, RangeSet } from '../../../binary/range-set.js';
import type { BlockDevice } from '../../../device/block-device.js';
import { dataPieces } from '../../data-pieces.js';
import { mostPiece } from './on-disk.js';

/** A part of the disk, of which what is given back is kept and made durable in one go. */
export interface Batch {
  readonly start: bigint;
  readonly end: bigint;
  /** What of it is given back and may be more than zeros: in order, none longer than a piece may be. */
  readonly pieces: readonly Range[];
}

/** Bytes of a batch, at most, that may be more than zeros. */
export const usualBatch = 32n << 20n;
/** Pieces of a batch, at most: each of them may become many, around blocks of zeros. */
const mostPieces = 4096;

/** Cuts a disk into batches, without a gap. */
export async function* batchesOf(
  disk: BlockDevice,
  given: RangeSet,
  batchSize: bigint,
  signal: AbortSignal | undefined,
): AsyncGenerator<Batch, void, undefined> {
  let start = 0n;
  let pieces: Range[] = [];
  let bytes = 0n;
  for await (const piece of dataPieces(disk, BigInt(mostPiece), signal, given)) {
    if (pieces.length > 0 && (bytes + piece.length > batchSize || pieces.length === mostPieces)) {
      yield { start, end: piece.offset, pieces };
      start = piece.offset;
      pieces = [];
      bytes = 0n;
    }
    pieces.push(piece);
    bytes += piece.length;
  }
  yield { start, end: disk.facts.size, pieces };
}
