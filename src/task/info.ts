import { DiskError } from '../error/disk-error.js';
import { type Guest, type LogicalFacts, openGuest } from '../guest/guest.js';
import { describeChain, type ImageFacts } from '../image/describe-chain.js';
import { openImage, type SourceOptions } from '../image/open-image.js';
import { once } from '../image/open-raw.js';
import { type PartitionTable, readPartitionTable } from '../volume/partition-table.js';
import type { TaskContext } from './context.js';

export type { ImageFacts } from '../image/describe-chain.js';
export type { PartitionTable } from '../volume/partition-table.js';

export interface InfoOptions extends Omit<SourceOptions, 'snapshot'> {
  readonly image: string;
}

export interface DiskInfo {
  /** The image first, then what it stands on, one below the other. */
  readonly images: readonly ImageFacts[];
  /** Of the disk; undefined when it cannot be read: then a problem of the image says why. */
  readonly partitionTable?: Omit<PartitionTable, 'own'> | undefined;
  /** Of LVM2, on the disk or its partitions; undefined as the table is. */
  readonly logicalVolumes?: readonly LogicalVolumeInfo[] | undefined;
}

export interface LogicalVolumeInfo extends LogicalFacts {
  /** `/dev/vg/root`. */
  readonly device: string;
  /** Bytes. */
  readonly size: bigint;
  /** Why it is not taken apart, or why nothing of it may be changed. */
  readonly problem?: string | undefined;
}

/**
 * Tells what an image is: what its headers say, and how its disk is divided. Whatever cannot be read is a problem of the
 * image, and stops nothing but what depends on it.
 *
 * @throws {DiskError} when not even the first bytes of the image can be read; CANCELLED
 */
export async function imageInfo({ image, ...source }: InfoOptions, context: TaskContext = {}): Promise<DiskInfo> {
  const { signal } = context;
  const onWarning = once(context.onWarning);
  const [top, ...below] = await describeChain(image, { ...source, signal, onWarning });
  if (top === undefined) throw new Error('a chain without images');
  let virtualSize = top.virtualSize;
  let partitionTable: DiskInfo['partitionTable'];
  let logicalVolumes: DiskInfo['logicalVolumes'];
  const problems = [...top.problems];
  try {
    await using disk = await openImage(image, { ...source, access: 'read', signal, onWarning });
    virtualSize ??= disk.facts.size;
    // Apart, so that it is told when a partition cannot be read.
    const { own: _, ...table } = await readPartitionTable(disk, { signal });
    partitionTable = table;
    logicalVolumes = logicalVolumesOf(await openGuest(disk, { signal }));
  } catch (error) {
    if (!(error instanceof DiskError) || error.code === 'CANCELLED') throw error;
    const known = [top, ...below].some((facts) => facts.problems.some(({ message }) => message === error.message));
    if (!known) problems.push(error);
  }
  return { images: [{ ...top, virtualSize, problems }, ...below], partitionTable, logicalVolumes };
}

function logicalVolumesOf({ volumes, left }: Guest): LogicalVolumeInfo[] {
  const known = volumes.flatMap(({ name, device, logical, problem, leftAlone }): LogicalVolumeInfo[] =>
    logical === undefined ? [] : [{ ...logical, device: name, size: device.facts.size, problem: problem ?? leftAlone }],
  );
  const others = left.map(
    ({ name, size, logical, reason }): LogicalVolumeInfo => ({ ...logical, device: name, size, problem: reason }),
  );
  return [...known, ...others];
}
