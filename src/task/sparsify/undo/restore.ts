import { toNumber } from '../../../binary/convert.js';
import { RangeSet } from '../../../binary/range-set.js';
import { isZero } from '../../../binary/zeros.js';
import type { BlockDevice } from '../../../device/block-device.js';
import { rangeBuffer, readRange } from '../../../device/read-range.js';
import { DiskError } from '../../../error/disk-error.js';
import { openImage, type SourceOptions } from '../../../image/open-image.js';
import type { TaskContext } from '../../context.js';
import { dataPieces } from '../../data-pieces.js';
import { inParallel } from '../../in-parallel.js';
import { WholeBlocks } from '../../output/whole-blocks.js';
import { rememberAttributes } from '../../remember-attributes.js';
import { differenceInUse, digestUsed } from '../used-digest.js';
import { mostPiece } from './on-disk.js';
import { type KeptBatch, type KeptPiece, readUndo, type UndoContents } from './read-undo.js';

export interface RestoreOptions extends Pick<SourceOptions, 'format'> {
  /** Say what would be put back, and change nothing. */
  readonly dryRun?: boolean | undefined;
  /** Go on although somebody reads the image. */
  readonly force?: boolean | undefined;
}

/** What became of an image whose free space was put back; all numbers are bytes. */
export interface RestoreReport {
  readonly image: string;
  readonly undo: string;
  readonly dryRun: boolean;
  readonly size: bigint;
  /** What was put back, or would be. */
  readonly restored: bigint;
  /** What was in its place already: not given back after all, or put back before. */
  readonly present: bigint;
  /** Whether the run that was undone came to its end; of one that did not, the rest was never given back. */
  readonly complete: boolean;
}

/** Pieces under way at once. */
const depth = 4;

/**
 * Puts back what `sparsify --undo` has kept. Nothing is written before all has been looked at: the bytes in use must be
 * those of then, and what was given back must still read as zeros, or as what is kept. So it can be stopped at any moment,
 * and done again.
 *
 * @throws {DiskError} UNSAFE (`reason`: `other-disk`, `changed-in-use`, `changed-given-back`) when it is not the disk that
 * it was; CORRUPT when the undo file is damaged; as {@link openImage}
 */
export async function restore(
  undo: string,
  image: string,
  { dryRun = false, force, format }: RestoreOptions,
  context: TaskContext,
): Promise<RestoreReport> {
  const { signal, onWarning } = context;
  await using file = await openImage(undo, { access: 'read', format: 'raw', signal, onWarning });
  context.onProgress?.({ phase: `reading ${undo}`, done: 0n });
  const contents = await readUndo(file, signal);
  const access = dryRun ? 'read' : 'write';
  await using disk = await openImage(image, { access, force, format, signal, onWarning });
  const { size } = disk.facts;
  if (size !== contents.diskSize) {
    const message = `${image} has ${size} bytes, and ${undo} belongs to a disk of ${contents.diskSize}`;
    throw new DiskError('UNSAFE', message, { device: image, reason: 'other-disk' });
  }
  const figures = { restored: 0n, present: 0n };
  if (contents.batchCount > 0) {
    await refuseChanged(disk, image, undo, contents, context);
    for await (const { lacking, present } of lookAt(disk, image, contents, context)) {
      figures.restored += lacking.reduce((sum, { length }) => sum + length, 0n);
      figures.present += present;
    }
    if (!dryRun) await putBack(disk, contents, context);
  }
  return { image, undo, dryRun, size, ...figures, complete: contents.ended };
}

async function refuseChanged(
  disk: BlockDevice,
  image: string,
  undo: string,
  { given, used }: UndoContents,
  context: TaskContext,
): Promise<void> {
  const now = await digestUsed(disk, given, context);
  const where = differenceInUse(disk, given, used, now);
  if (where === undefined) return;
  const message = `${image}: ${where}, is not what it was when ${undo} was made: it was written to since, or is another disk`;
  throw new DiskError('UNSAFE', message, { device: image, reason: 'changed-in-use' });
}

/** What of a batch is not in its place. */
interface Looked {
  readonly lacking: readonly KeptPiece[];
  /** Bytes. */
  readonly present: bigint;
}

/** Looks at every byte that was given back, and at all that is kept. */
async function* lookAt(
  disk: BlockDevice,
  image: string,
  contents: UndoContents,
  context: TaskContext,
): AsyncGenerator<Looked> {
  const phase = `looking at what was given back of ${image}`;
  const total = disk.facts.size;
  for await (const batch of contents.batches(context.signal)) {
    await refuseDataBetween(disk, image, contents.given, batch, context.signal);
    const lacking: KeptPiece[] = [];
    let present = 0n;
    await eachPiece(disk, contents, batch, context.signal, (piece, kept, found) => {
      if (Buffer.compare(kept, found) === 0) present += piece.length;
      else if (isZeroOr(found, kept)) lacking.push(piece);
      else throw changed(image, piece.offset, piece.length);
    });
    yield { lacking, present };
    context.onProgress?.({ phase, done: batch.end, total });
  }
}

async function putBack(disk: BlockDevice, contents: UndoContents, context: TaskContext): Promise<void> {
  const phase = `putting back what was given back of ${disk.name}`;
  const total = disk.facts.size;
  const blocks = new WholeBlocks(disk);
  const attributes = rememberAttributes(disk, context);
  try {
    for await (const batch of contents.batches(context.signal)) {
      await eachPiece(disk, contents, batch, context.signal, async (piece, kept, found) => {
        if (Buffer.compare(kept, found) !== 0) await blocks.write(kept, piece.offset);
      });
      context.onProgress?.({ phase, done: batch.end, total });
    }
    if (disk.facts.flush) await disk.flush({ signal: context.signal });
  } finally {
    attributes?.restore();
  }
}

/** Calls `act` with each piece of a batch: as it is kept, and as the disk has it. */
async function eachPiece(
  disk: BlockDevice,
  contents: UndoContents,
  { pieces }: KeptBatch,
  signal: AbortSignal | undefined,
  act: (piece: KeptPiece, kept: Uint8Array, found: Buffer) => void | Promise<void>,
): Promise<void> {
  const next = pieces[Symbol.iterator]();
  await inParallel(depth, signal, async (stop) => {
    const buffer = rangeBuffer(disk, mostPiece);
    for (let piece = next.next(); piece.done !== true; piece = next.next()) {
      const { offset, length } = piece.value;
      const kept = await contents.read(piece.value, stop);
      const found = await readRange(disk, buffer, offset, toNumber(length), { signal: stop });
      await act(piece.value, kept, found);
    }
  });
}

/** What was given back and is not kept was zeros. */
async function refuseDataBetween(
  disk: BlockDevice,
  image: string,
  given: RangeSet,
  { start, end, pieces }: KeptBatch,
  signal: AbortSignal | undefined,
): Promise<void> {
  const zeros = given.clip(start, end - start).subtract(RangeSet.of(pieces));
  const buffer = rangeBuffer(disk, mostPiece);
  for await (const { offset, length } of dataPieces(disk, BigInt(mostPiece), signal, zeros)) {
    const bytes = await readRange(disk, buffer, offset, toNumber(length), { signal });
    if (!isZero(bytes)) throw changed(image, offset, length);
  }
}

/** Whether each byte is zero or the one that is kept: a write of it may have been cut off anywhere. */
function isZeroOr(found: Uint8Array, kept: Uint8Array): boolean {
  return isZero(found) || found.every((byte, i) => byte === 0 || byte === kept[i]);
}

function changed(image: string, offset: bigint, length: bigint): DiskError {
  const message = `${image}: of ${length} bytes at byte ${offset}, which were given back, some are no longer zeros: something was written there since, and would be lost`;
  return new DiskError('UNSAFE', message, { device: image, offset, reason: 'changed-given-back' });
}
