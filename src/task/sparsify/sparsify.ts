import { fstatSync } from 'node:fs';
import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { hostFileOf, openImage, type SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { rememberAttributes } from '../remember-attributes.js';
import { giveBack } from './give-back.js';
import { hostWarnings } from './host-warnings.js';
import { type Plan, type PlanOptions, planSparsify } from './plan.js';
import type { SparsifyReport } from './report.js';
import { scanZeros } from './scan-zeros.js';
import { UndoFile } from './undo/write-undo.js';
import { differenceInUse, digestUsed, type UsedDigest } from './used-digest.js';

export interface SparsifyOptions extends PlanOptions, SourceOptions {
  /** Say what would be given back, and change nothing. */
  readonly dryRun?: boolean | undefined;
  /** Look for zeros in use as well. Default true. */
  readonly scan?: boolean | undefined;
  /** Wipe what is not swap, and go on although somebody reads the image. */
  readonly force?: boolean | undefined;
  /** Allow a block device, and tell it to discard. */
  readonly discard?: boolean | undefined;
  /** Hash what is in use before and after. */
  readonly verify?: boolean | undefined;
  /** The name of a new file that keeps what is given back, for {@link restore}. */
  readonly undo?: string | undefined;
}

/**
 * Makes an image small where it lies: gives back to the host what the guest's filesystems call free, then what is zeros
 * anyway. Whenever it is stopped, by kill -9 too, the image is whole: what it had given back nobody needed.
 *
 * @throws {DiskError} BUSY when anybody else has the image open, UNSUPPORTED when the host cannot punch holes, UNSAFE
 * when it would lose what was not named with `force`, or the undo file is there already; IO (`reason`: `verify`) when
 * something in use has changed
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
  const { verify = false, undo } = options;
  const given = plan.trim.union(plan.wipe);
  try {
    await using kept = undo === undefined ? undefined : await UndoFile.create(undo, disk.facts.size);
    const before = verify || kept !== undefined ? await digestBefore(disk, given, context) : undefined;
    if (before !== undefined) await kept?.begin(given, before);
    const zeros = await shrink(disk, plan, kept, options, context);
    if (verify && before !== undefined) await refuseDifference(disk, given, before, context);
    return report(image, disk, plan, {
      dryRun,
      zeros,
      digest: verify ? before?.sum().toString('hex') : undefined,
      undo,
      kept: kept?.kept,
      allocatedBefore,
      allocatedAfter: allocated(disk),
    });
  } finally {
    attributes?.restore();
  }
}

/** @returns bytes in use that were zeros and have become holes */
async function shrink(
  disk: BlockDevice,
  plan: Plan,
  kept: UndoFile | undefined,
  { scan = true }: SparsifyOptions,
  context: TaskContext,
): Promise<bigint> {
  try {
    await giveBack(disk, plan, kept, context);
    const zeros = scan && disk.facts.extents ? await scanZeros(disk, context) : 0n;
    await disk.flush({ signal: context.signal });
    return zeros;
  } catch (error) {
    const partly = kept !== undefined && kept.kept > 0n;
    if (partly) context.onWarning?.(`${kept.path} keeps what was given back so far`);
    throw hasCode(error, 'UNSUPPORTED') && !partly ? cannotPunch(disk, error) : error;
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
  for (const { name, volume, wiped } of freeSpace.volumes) {
    // The memory of a guest that sleeps lies in its swap.
    const expendable = volume?.content.kind === 'swap' && guest.hibernated === undefined;
    if (wiped && !expendable) {
      throw new DiskError('UNSAFE', `--zero ${name} would lose all that is in it: say --force if you mean it`, {
        device: disk.name,
        reason: 'wipe',
      });
    }
  }
}

/** Durable first: some filesystems know of holes only then, and what is taken for one is not kept. */
async function digestBefore(disk: BlockDevice, given: RangeSet, context: TaskContext): Promise<UsedDigest> {
  if (disk.facts.flush) await disk.flush({ signal: context.signal });
  return await digestUsed(disk, given, context);
}

async function refuseDifference(
  disk: BlockDevice,
  given: RangeSet,
  before: UsedDigest,
  context: TaskContext,
): Promise<void> {
  const where = differenceInUse(disk, given, before, await digestUsed(disk, given, context));
  if (where === undefined) return;
  const message = `${disk.name}: ${where}, has changed, which must not be: check the image, and the disk that it lies on`;
  throw new DiskError('IO', message, { device: disk.name, reason: 'verify' });
}

function report(
  image: string,
  disk: BlockDevice,
  { volumes }: Plan,
  figures: Omit<SparsifyReport, 'image' | 'size' | 'volumes'>,
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
