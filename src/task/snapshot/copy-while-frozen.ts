import type { BlockDevice } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { formatOf, openImage } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { copyFormat } from '../conversion.js';
import { copyContents } from '../copy-device.js';
import type { Held } from '../held.js';
import { openOutput } from '../output/open-output.js';
import { takeConsistently } from './consistent.js';
import type { SnapshotOptions, SnapshotResult } from './snapshot.js';

/** Copies an image by itself: all that can be done before the freeze and after the thaw is done then. */
export async function copyWhileFrozen(
  image: string,
  output: string,
  hold: () => Promise<Held>,
  options: SnapshotOptions,
  context: TaskContext,
): Promise<SnapshotResult> {
  const { convert, replace } = options;
  const stop = new AbortController();
  const signal = context.signal === undefined ? stop.signal : AbortSignal.any([context.signal, stop.signal]);
  const { onWarning } = context;
  await using disk = await openInUse(image, options.format, context);
  const format = copyFormat(image, disk, { convert });
  const target = await openOutput(output, { source: disk, format, replace, signal, onWarning });
  try {
    const held = await hold();
    const take = () => copyContents(disk, target, {}, { ...context, signal });
    const { result, frozenFor } = await takeConsistently(held, take, stop, context);
    await target.finish();
    const { size, cloned } = result;
    return { format: format.format, size, cloned, frozen: held.guard.names, frozenFor };
  } catch (error) {
    await target.discard();
    throw error;
  }
}

/**
 * Opens an image whose writers are to stand still. Of other formats than raw some of the tables, and of the data, may be
 * in the writer's memory alone.
 *
 * @throws {DiskError} as {@link openImage}; BUSY
 */
async function openInUse(
  image: string,
  format: SnapshotOptions['format'],
  { signal, onWarning }: TaskContext,
): Promise<BlockDevice> {
  const open = { format, access: 'read', signal } as const;
  try {
    return await openImage(image, { ...open, onWarning });
  } catch (error) {
    if (!hasCode(error, 'BUSY')) throw error;
    // That it is written to is what all this is for.
    const disk = await openImage(image, { ...open, forceShare: true });
    const found = formatOf(disk);
    if (found === 'raw') return disk;
    await disk.close();
    const advice = found === 'qcow2' ? `: have QEMU copy it: --qmp SOCKET` : '';
    throw new DiskError(
      'BUSY',
      `${image}: a ${found} image that somebody writes to is partly in their memory${advice}`,
      {
        device: image,
        reason: 'in-use-by-writer',
        cause: error,
      },
    );
  }
}
