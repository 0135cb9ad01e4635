import { stat } from 'node:fs/promises';
import { withoutBytes } from '../../device/layer/holes.js';
import { openImage, type SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { type Conversion, copyFormat } from '../conversion.js';
import { copyDevice } from '../copy-device.js';
import { openOutput } from '../output/open-output.js';
import { type PlanOptions, planSparsify } from './plan.js';
import type { SparsifyReport } from './report.js';

export interface SparsifyCopyOptions extends PlanOptions, SourceOptions, Conversion {
  /** What is there already is replaced. */
  readonly force?: boolean | undefined;
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
  { force, format, snapshot, forceShare, convert, compress, clusterSize, ...options }: SparsifyCopyOptions,
  context: TaskContext,
): Promise<SparsifyReport> {
  const { signal, onWarning } = context;
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
  return {
    image,
    output,
    format: outputFormat.format,
    dryRun: false,
    size: source.facts.size,
    volumes,
    written,
    allocatedBefore: await allocated(image),
    allocatedAfter: await allocated(output),
  };
}

/** Bytes that the host has set aside for a regular file. */
async function allocated(path: string): Promise<bigint | undefined> {
  const stats = path === '-' ? undefined : await stat(path, { bigint: true }).catch(() => undefined);
  return stats?.isFile() ? stats.blocks * 512n : undefined;
}
