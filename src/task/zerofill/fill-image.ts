import { min, toNumber } from '../../binary/convert.js';
import type { RangeSet } from '../../binary/range-set.js';
import { zeroRuns, zeros } from '../../binary/zeros.js';
import type { BlockDevice } from '../../device/block-device.js';
import { findFreeSpace, type LeftAlone, type VolumeFreeSpace } from '../../guest/free-space.js';
import { openGuest } from '../../guest/guest.js';
import { alignedBuffer } from '../../host/aligned-buffer.js';
import type { ImageFormat } from '../../image/image-format.js';
import { openImage } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { dataPieces } from '../data-pieces.js';
import { inParallel } from '../in-parallel.js';
import { rememberAttributes } from '../remember-attributes.js';

/** All numbers are bytes. */
export interface FilledImage {
  readonly kind: 'image';
  readonly target: string;
  readonly volumes: readonly FilledVolume[];
  readonly free: bigint;
  /** Free space that was overwritten with zeros; the rest was zeros before. */
  readonly zeroed: bigint;
}

export interface FilledVolume {
  readonly device: string;
  readonly type: string;
  readonly free: bigint;
  readonly leftAlone?: LeftAlone | undefined;
}

const pieceSize = 1n << 20n;
const depth = 4;

/**
 * Overwrites the free space of an image with zeros. What reads as zeros is not written, so that a sparse image stays as
 * small as it is.
 *
 * @throws {DiskError} as openImage and openGuest; IO, CANCELLED
 */
export async function fillImage(
  path: string,
  { force, format }: { readonly force?: boolean | undefined; readonly format?: ImageFormat | undefined },
  context: TaskContext,
): Promise<FilledImage> {
  const { signal, onWarning } = context;
  await using disk = await openImage(path, { access: 'write', shrinks: true, force, format, signal, onWarning });
  const guest = await openGuest(disk, { signal });
  for (const warning of guest.warnings) onWarning?.(warning);
  // There is no flag here that would turn it off.
  const { volumes, free } = await findFreeSpace(guest, { replay: false, signal });
  const attributes = rememberAttributes(disk, context);
  let zeroed: bigint;
  try {
    zeroed = await zeroFree(disk, free, context);
    await disk.flush();
  } finally {
    attributes?.restore();
  }
  return { kind: 'image', target: path, volumes: volumes.map(describe), free: free.total, zeroed };
}

function describe({ name, type, free, leftAlone }: VolumeFreeSpace): FilledVolume {
  return { device: name, type, free: free.total, leftAlone };
}

/** @returns bytes that were written */
async function zeroFree(disk: BlockDevice, free: RangeSet, context: TaskContext): Promise<bigint> {
  const phase = `zeroing the free space of ${disk.name}`;
  const block = disk.facts.blockSize.preferred;
  const pieces = dataPieces(disk, pieceSize, context.signal, free);
  let done = 0n;
  let zeroed = 0n;
  await inParallel(depth, context.signal, async (signal) => {
    const buffer = alignedBuffer(toNumber(pieceSize));
    for (let piece = await pieces.next(); piece.done !== true; piece = await pieces.next()) {
      const { offset, length } = piece.value;
      const bytes = buffer.subarray(0, toNumber(length));
      await disk.read(bytes, offset, { signal });
      const dirty: [start: number, end: number][] = [];
      zeroRuns(bytes, block, (start, end, zero) => {
        if (!zero) dirty.push([start, end]);
      });
      for (const [start, end] of dirty) {
        await disk.write(zeros.subarray(0, end - start), offset + BigInt(start), { signal });
        zeroed += BigInt(end - start);
      }
      done += length;
      context.onProgress?.({ phase, done: min(done, free.total), total: free.total });
    }
  });
  return zeroed;
}
