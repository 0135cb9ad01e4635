import { stat } from 'node:fs/promises';
import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { withoutBytes } from '../../device/layer/holes.js';
import { Slice } from '../../device/layer/slice.js';
import { DiskError } from '../../error/disk-error.js';
import { openImage, type SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { type Conversion, type CopyFormat, copyFormat } from '../conversion.js';
import { copyDevice } from '../copy-device.js';
import { openOutput } from '../output/open-output.js';
import { type PlanOptions, planSparsify } from './plan.js';
import type { SparsifyReport } from './report.js';
import { differenceInUse, digestUsed } from './used-digest.js';

export interface SparsifyCopyOptions extends PlanOptions, SourceOptions, Conversion {
  /** What is there already is replaced. */
  readonly force?: boolean | undefined;
  /** Hash what is in use, in the image and in its copy. */
  readonly verify?: boolean | undefined;
}

/**
 * Copies a disk image without the free space of its filesystems; the image is only read.
 *
 * @param output a path, or `-` for standard output
 * @throws {DiskError} BUSY, NOT_FOUND, UNSAFE when the output is there already, USAGE, CORRUPT, IO, CANCELLED
 */
export async function sparsifyCopy(
  image: string,
  output: string,
  {
    force,
    verify = false,
    format,
    snapshot,
    forceShare,
    convert,
    compress,
    clusterSize,
    ...options
  }: SparsifyCopyOptions,
  context: TaskContext,
): Promise<SparsifyReport> {
  const { signal, onWarning } = context;
  if (verify) await refuseStream(output);
  await using source = await openImage(image, { access: 'read', format, snapshot, forceShare, signal, onWarning });
  const outputFormat = copyFormat(image, source, { convert, compress, clusterSize });
  context.onProgress?.({ phase: `reading the metadata of ${image}`, done: 0n });
  const { guest, freeSpace, volumes } = await planSparsify(source, options, context);
  for (const warning of guest.warnings) onWarning?.(warning);
  const free = freeSpace.free.atLeast(options.minimum ?? 0n);
  const target = await openOutput(output, { source, format: outputFormat, replace: force, signal, onWarning });
  const { wiped } = freeSpace;
  const view = withoutBytes(source, free.union(wiped));
  // What is free is told of besides: a target that is not empty keeps what it has there.
  const { written } = await copyDevice(view, target, { free, wiped, phase: `copying ${image}` }, context);
  const digest = verify ? await refuseDifference(source, output, outputFormat, free.union(wiped), context) : undefined;
  return {
    image,
    output,
    digest,
    format: outputFormat.format,
    dryRun: false,
    size: source.facts.size,
    volumes,
    written,
    allocatedBefore: await allocated(image),
    allocatedAfter: await allocated(output),
  };
}

/** What went through a pipe cannot be read again. */
async function refuseStream(output: string): Promise<void> {
  const there = output === '-' ? undefined : await stat(output).catch(() => undefined);
  if (output !== '-' && (there === undefined || there.isFile() || there.isBlockDevice())) return;
  throw new DiskError('USAGE', `--verify reads the copy again, which ${output} does not allow: write it to a file`);
}

/** @returns the digest of what is in use, which is the same in both */
async function refuseDifference(
  source: BlockDevice,
  output: string,
  { format }: CopyFormat,
  left: RangeSet,
  context: TaskContext,
): Promise<string> {
  const { signal, onWarning } = context;
  const { size } = source.facts;
  const before = await digestUsed(source, left, context);
  await using copy = await openImage(output, { access: 'read', format, signal, onWarning });
  // What lies behind the copy on a longer device is none of it.
  const after = await digestUsed(new Slice(copy, 0n, size, output), left, context);
  const where = differenceInUse(source, left, before, after);
  if (where === undefined) return before.sum().toString('hex');
  throw new DiskError('IO', `${output}: ${where}, differs from ${source.name}: make the copy again`, {
    device: output,
    reason: 'verify',
  });
}

/** Bytes that the host has set aside for a regular file. */
async function allocated(path: string): Promise<bigint | undefined> {
  const stats = path === '-' ? undefined : await stat(path, { bigint: true }).catch(() => undefined);
  return stats?.isFile() ? stats.blocks * 512n : undefined;
}
