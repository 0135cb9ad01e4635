import { Flags } from '@oclif/core';
import { DiskError } from '../error/disk-error.js';
import type { ImageFormat } from '../image/image-format.js';
import type { SparsifyOptions } from '../task/sparsify/sparsify.js';
import type { SparsifyCopyOptions } from '../task/sparsify/sparsify-copy.js';
import type { RestoreOptions } from '../task/sparsify/undo/restore.js';
import { conversionFlags, conversionOf, saidOfConversion } from './conversion-flags.js';
import { imageFlags, sourceOf, strict } from './flags.js';
import { freeSpaceFlags, freeSpaceOf, saidOfFreeSpace } from './free-space-flags.js';

/** The flags of `sparsify`, and what they ask for. */

export const verifyFlag = Flags.boolean({
  summary: 'hash what is in use, before and after (or in the image and its copy), and fail if it is not the same',
  exclusive: ['dry-run'],
});

export const sparsifyFlags = {
  output: Flags.string({
    summary: 'write a copy to this file (a raw one to a block device or NBD URI too), and leave the image as it is',
    helpValue: 'OUT',
  }),
  'dry-run': Flags.boolean({
    char: 'n',
    summary: 'say what would be given back (zeros apart), and change nothing',
    exclusive: ['output'],
  }),
  ...freeSpaceFlags,
  zero: Flags.string({
    summary: 'give up all that is in this partition or logical volume',
    description: 'In place, anything but swap needs --force as well.',
    helpValue: 'DEVICE',
    multiple: true,
    multipleNonGreedy: true,
  }),
  scan: Flags.boolean({ default: true, allowNo: true, summary: 'look for zeros in use as well' }),
  verify: verifyFlag,
  undo: Flags.string({
    summary: 'keep what is given back in this new file, from which --restore puts it back',
    description:
      'A sparse file for its owner alone, of what is not zeros. It takes room while what it keeps is given back: on the same filesystem nothing is won until it is removed. Each part is on the disk before it is given back, so that the file is good whenever the work is stopped.',
    helpValue: 'FILE',
    exclusive: ['output', 'dry-run'],
  }),
  restore: Flags.string({
    summary: 'put back what --undo has kept in this file',
    description:
      'Only into a disk whose bytes in use are those of then, and only where it still reads as zeros: else nothing is changed. It can be stopped and done again; --dry-run says what it would do.',
    helpValue: 'FILE',
    exclusive: ['output', 'undo', 'verify', 'zero', 'discard'],
  }),
  discard: Flags.boolean({ summary: 'IMAGE may be a block device: have it discard what is free' }),
  force: Flags.boolean({
    char: 'f',
    summary: 'wipe what --zero names, go on although others read the image, replace OUT',
  }),
  ...imageFlags,
  ...conversionFlags,
  strict,
};

type SparsifyFlags = Parameters<typeof freeSpaceOf>[0] &
  Parameters<typeof conversionOf>[0] & {
    readonly output?: string | undefined;
    readonly 'dry-run': boolean;
    readonly zero?: readonly string[] | undefined;
    readonly scan: boolean;
    readonly verify: boolean;
    readonly undo?: string | undefined;
    readonly restore?: string | undefined;
    readonly discard: boolean;
    readonly force: boolean;
    readonly format?: ImageFormat | undefined;
    readonly snapshot?: string | undefined;
    readonly 'force-share': boolean;
  };

/** What is asked for, of each image. */
export type SparsifyAsked =
  | { readonly what: 'in-place'; readonly options: SparsifyOptions }
  | { readonly what: 'copy'; readonly output: string; readonly options: SparsifyCopyOptions }
  | { readonly what: 'restore'; readonly undo: string; readonly options: RestoreOptions };

/** @throws {DiskError} USAGE for what does not go together */
export function sparsifyAsked(images: readonly string[], flags: SparsifyFlags): SparsifyAsked {
  const { output, undo, restore, zero, scan, verify, discard, force, 'dry-run': dryRun } = flags;
  for (const [name, file] of Object.entries({ output, undo, restore })) {
    if (file === undefined || images.length === 1) continue;
    throw new DiskError('USAGE', `--${name} takes one image, not ${images.length}`);
  }
  const said = saidOfConversion(flags);
  if (said !== undefined && output === undefined) {
    throw new DiskError('USAGE', `${said} goes with --output: an image keeps its format where it lies`);
  }
  if (output === '-') {
    throw new DiskError('USAGE', '--output takes a file: to write to standard output, use copy --sparsify');
  }
  const shared = flags['force-share'];
  if (shared && output === undefined && (!dryRun || restore !== undefined)) {
    throw new DiskError(
      'USAGE',
      '--force-share goes with --dry-run or --output: what others write to is never changed',
    );
  }
  if (restore !== undefined) {
    const ofFreeSpace = saidOfFreeSpace(flags);
    if (ofFreeSpace !== undefined) throw new DiskError('USAGE', `${ofFreeSpace} and --restore do not go together`);
    if (flags.snapshot !== undefined)
      throw new DiskError('USAGE', '--snapshot: a snapshot is only read, never changed');
    return { what: 'restore', undo: restore, options: { dryRun, force, format: flags.format } };
  }
  const common = { ...sourceOf(flags), ...freeSpaceOf(flags), zero, force, verify };
  return output === undefined
    ? { what: 'in-place', options: { ...common, dryRun, scan, discard, undo } }
    : { what: 'copy', output, options: { ...common, ...conversionOf(flags) } };
}
