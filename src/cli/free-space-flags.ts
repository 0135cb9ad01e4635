import { Flags } from '@oclif/core';
import type { PlanOptions } from '../task/sparsify/plan.js';
import { sizeFlag } from './flags.js';

/** The flags that say what of a disk counts as free, and what they say. */

export const freeSpaceFlags = {
  ignore: Flags.string({
    summary: 'leave this partition alone: nothing of it is free',
    helpValue: 'DEVICE',
    multiple: true,
    multipleNonGreedy: true,
  }),
  minimum: sizeFlag({ summary: 'leave free ranges shorter than this be' }),
};

interface FreeSpaceFlags {
  readonly ignore?: readonly string[] | undefined;
  readonly minimum?: bigint | undefined;
}

/** The first of the flags that is said, as it is said: for who has no use for them. */
export function saidOfFreeSpace({ ignore, minimum }: FreeSpaceFlags): string | undefined {
  if (ignore !== undefined) return '--ignore';
  return minimum === undefined ? undefined : '--minimum';
}

/** What the flags say of free space. */
export function freeSpaceOf({ ignore, minimum }: FreeSpaceFlags): Omit<PlanOptions, 'zero'> {
  return { ignore, minimum };
}
