import { fstatSync } from 'node:fs';
import { min } from '../../binary/convert.js';
import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { hostFileOf, openImage, type SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { rememberAttributes } from '../remember-attributes.js';
import { hostWarnings } from './host-warnings.js';
import { type Plan, type PlanOptions, planSparsify } from './plan.js';
import type { SparsifyReport } from './report.js';
import { scanZeros } from './scan-zeros.js';

export interface SparsifyOptions extends PlanOptions, SourceOptions {
  /** Say what would be given back, and change nothing. */
  readonly dryRun?: boolean | undefined;
  /** Look for zeros in use as well. Default true. */
  readonly scan?: boolean | undefined;
  /** Wipe what is not swap, and go on although somebody reads the image. */
  readonly force?: boolean | undefined;
  /** Allow a block device, and tell it to discard. */
  readonly discard?: boolean | undefined;
}

/** Bytes a call: so that a signal is heard, and progress seen, in a free range of terabytes. */
const pieceSize = 1n << 30n;

/**
 * Makes an image small where it lies: gives back to the host what the guest's filesystems call free, then what is zeros
 * anyway. Whenever it is stopped, by kill -9 too, the image is whole: what it had given back nobody needed.
 *
 * @throws {DiskError} BUSY when anybody else has the image open, UNSUPPORTED when the host cannot punch holes, UNSAFE
 * when it would lose what was not named with `force`
 */
export async function sparsify(image: string, options: SparsifyOptions, context: TaskContext): Promise<SparsifyReport> {
  const { dryRun = false, force = false, format, snapshot, forceShare } = options;
  const { signal, onWarning } = context;
  await using disk = await openImage(image, {
    access: dryRun ? 'read' : 'write',
    shrinks: true,
    force,
    format,
    snapshot,
    forceShare,
    signal,
    onWarning,
  });
  context.onProgress?.({ phase: `reading the metadata of ${image}`, done: 0n });
  const plan = await planSparsify(disk, options, context);
  for (const warning of plan.guest.warnings) onWarning?.(warning);
  refuseUnsafe(disk, plan, options);
  const attributes = rememberAttributes(disk, context);
  const allocatedBefore = allocated(disk);
  if (dryRun) return report(image, disk, plan, { dryRun, zeros: 0n, allocatedBefore });

  for (const warning of hostWarnings(disk)) onWarning?.(warning);
  try {
    await giveBack(disk, plan, context);
    const scan = (options.scan ?? true) && disk.facts.extents;
    const zeros = scan ? await scanZeros(disk, context) : 0n;
    await disk.flush({ signal });
    return report(image, disk, plan, { dryRun, zeros, allocatedBefore, allocatedAfter: allocated(disk) });
  } catch (error) {
    throw hasCode(error, 'UNSUPPORTED') ? cannotPunch(disk, error) : error;
  } finally {
    attributes?.restore();
  }
}

function refuseUnsafe(
  disk: BlockDevice,
  { guest, freeSpace }: Plan,
  { force, discard, dryRun }: SparsifyOptions,
): void {
  if (!disk.facts.extents && discard !== true && dryRun !== true) {
    throw new DiskError('USAGE', `${disk.name}: is a block device: say --discard to have it discard what is free`);
  }
  if (force === true) return;
  for (const { volume, wiped } of freeSpace.volumes) {
    // The memory of a guest that sleeps lies in its swap.
    const expendable = volume.content.kind === 'swap' && guest.hibernated === undefined;
    if (wiped && !expendable) {
      throw new DiskError('UNSAFE', `--zero ${volume.name} would lose all that is in it: say --force if you mean it`, {
        device: disk.name,
        reason: 'wipe',
      });
    }
  }
}

async function giveBack(disk: BlockDevice, { trim, wipe }: Plan, context: TaskContext): Promise<void> {
  const { signal } = context;
  const phase = `giving back free space of ${disk.name}`;
  const total = trim.total + wipe.total;
  let done = 0n;
  const each = async (ranges: RangeSet, act: (offset: bigint, length: bigint) => Promise<void>) => {
    for (const { offset, length } of ranges) {
      for (let start = 0n; start < length; start += pieceSize) {
        const piece = min(pieceSize, length - start);
        await act(offset + start, piece);
        done += piece;
        context.onProgress?.({ phase, done, total });
      }
    }
  };
  await each(trim, (offset, length) => disk.trim(offset, length, { signal }));
  await each(wipe, (offset, length) => disk.zero(offset, length, { mayTrim: true, signal }));
}

function report(
  image: string,
  disk: BlockDevice,
  { volumes }: Plan,
  figures: Pick<SparsifyReport, 'dryRun' | 'zeros' | 'allocatedBefore' | 'allocatedAfter'>,
): SparsifyReport {
  return { image, size: disk.facts.size, volumes, ...figures };
}

/** Bytes that the host has set aside for a file. */
function allocated(disk: BlockDevice): bigint | undefined {
  const file = hostFileOf(disk);
  return file === undefined || file.kind === 'block' ? undefined : fstatSync(file.fd, { bigint: true }).blocks * 512n;
}

function cannotPunch({ name, facts }: BlockDevice, cause: DiskError): DiskError {
  const why = facts.extents ? "the host's filesystem cannot punch holes" : 'the device cannot discard';
  const message = `${name}: ${why}, nothing was changed: make a small copy with --output`;
  return new DiskError('UNSUPPORTED', message, { device: name, reason: 'no-punch', errno: cause.errno, cause });
}
