import { max, roundDown } from '../../../binary/convert.js';
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

/** Bytes of a batch that may be more than zeros: a batch goes on to the end of a block. */
export const usualBatch = 32n << 20n;
/** Pieces of a batch: each of them may become many, around blocks of zeros. */
const mostPieces = 4096;

/** Cuts a disk into batches, without a gap, and so that no block or cluster is given back in two parts. */
export async function* batchesOf(
  disk: BlockDevice,
  given: RangeSet,
  batchSize: bigint,
  signal: AbortSignal | undefined,
): AsyncGenerator<Batch, void, undefined> {
  let start = 0n;
  let pieces: Range[] = [];
  let bytes = 0n;
  const unit = max(BigInt(mostPiece), BigInt(disk.facts.blockSize.preferred));
  for await (const piece of dataPieces(disk, BigInt(mostPiece), signal, given)) {
    const last = pieces.at(-1);
    const cut = roundDown(piece.offset, unit);
    const full = bytes + piece.length > batchSize || pieces.length >= mostPieces;
    if (full && last !== undefined && cut >= last.offset + last.length) {
      yield { start, end: cut, pieces };
      start = cut;
      pieces = [];
      bytes = 0n;
    }
    pieces.push(piece);
    bytes += piece.length;
  }
  yield { start, end: disk.facts.size, pieces };
}
