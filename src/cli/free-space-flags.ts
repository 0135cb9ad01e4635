import { Flags } from '@oclif/core';
import type { PlanOptions } from '../task/sparsify/plan.js';
import { sizeFlag } from './flags.js';

/** The flags that say what of a disk counts as free, and what they say. */

export const freeSpaceFlags = {
  ignore: Flags.string({
    summary: 'leave this partition, logical volume or volume group alone: nothing of it is free',
    helpValue: 'DEVICE',
    multiple: true,
    multipleNonGreedy: true,
  }),
  unpartitioned: Flags.boolean({
    summary: 'what lies between partitions, and behind the last, is free as well',
    description:
      'Never what lies before the first partition, where boot loaders are, nor what is between the boot record of a logical partition and the partition, nor the last MiB of the disk; and nothing when there is anything odd about the partition table, or the disk is an ISO image too.',
  }),
  minimum: sizeFlag({ summary: 'leave free ranges shorter than this be' }),
  replay: Flags.boolean({
    default: true,
    allowNo: true,
    summary: 'replay in memory the journal of a filesystem that was not unmounted, instead of leaving it alone',
  }),
};

interface FreeSpaceFlags {
  readonly ignore?: readonly string[] | undefined;
  readonly unpartitioned?: boolean | undefined;
  readonly minimum?: bigint | undefined;
  readonly replay: boolean;
}

/** The first of the flags that is said, as it is said: for who has no use for them. */
export function saidOfFreeSpace({ ignore, unpartitioned, minimum, replay }: FreeSpaceFlags): string | undefined {
  if (ignore !== undefined) return '--ignore';
  if (unpartitioned === true) return '--unpartitioned';
  if (minimum !== undefined) return '--minimum';
  return replay ? undefined : '--no-replay';
}

/** What the flags say of free space. */
export function freeSpaceOf({ ignore, unpartitioned, minimum, replay }: FreeSpaceFlags): Omit<PlanOptions, 'zero'> {
  return { ignore, unpartitioned, minimum, replay };
}
