import { Args, Flags } from '@oclif/core';
import type { Range } from '../binary/range-set.js';
import { DiskError } from '../error/disk-error.js';
import { type ImageFormat, imageFormats } from '../image/image-format.js';
import type { SourceOptions } from '../image/open-image.js';
import { parseDuration, parseSize } from './quantities.js';

/** The flags and arguments that several verbs share: one meaning, one wording. */

export const sizeFlag = Flags.custom<bigint>({ parse: async (text) => parseSize(text), helpValue: 'SIZE' });

export const durationFlag = Flags.custom<number>({ parse: async (text) => parseDuration(text), helpValue: 'TIME' });

/** A part of a disk: `1M+4096`. */
export const rangeFlag = Flags.custom<Range>({
  parse: async (text) => {
    const at = text.lastIndexOf('+');
    if (at <= 0) throw new DiskError('USAGE', `"${text}" is no range: write it like 1M+4096, offset and length`);
    return { offset: parseSize(text.slice(0, at)), length: parseSize(text.slice(at + 1)) };
  },
  helpValue: 'OFFSET+LENGTH',
});

/** What stands for a disk, everywhere. */
export const imageDescription = 'the disk image: a file, a block device or an nbd:// URI';

export const imageArg = (description = imageDescription) =>
  Args.string({ description, required: true, ignoreStdin: true });

/** A part of a guest's disk, by any name that it has. */
export const deviceArg = (what = 'the partition or logical volume') =>
  Args.string({
    description: `${what}: /dev/sda1, 1, /dev/vg/root, LABEL=…, UUID=…, PARTUUID=…; /dev/sda is the whole disk`,
    required: true,
    ignoreStdin: true,
  });

const forceShare = Flags.boolean({
  char: 'U',
  summary: 'read the image although somebody is writing to it',
  description: 'What is read may be torn: it shows different moments of the disk.',
});

const format = Flags.option({ options: imageFormats })({
  summary: 'the format of the image, which is otherwise found out by its first bytes',
  description:
    'A guest can write any first bytes: an image that names other files (a backing file, a data file, VMDK extents) is opened only when its format is said, and a raw image that is written to takes the first bytes of another format only then. All but raw and qcow2 are read through qemu-nbd; vpc is VHD, and a fixed VHD image, like qcow, bochs, cloop and dmg, is only known when it is said.',
});

/** What is said of an image that is read. */
export const imageFlags = {
  format,
  snapshot: Flags.string({
    summary: 'read this internal snapshot of a qcow2 image, by its name or ID',
    helpValue: 'NAME',
  }),
  'force-share': forceShare,
};

/** What is said of an image of which more than one disk is told. */
export const wholeImageFlags = { format, 'force-share': forceShare };

const formatOfOne = (which: string, char: 'f' | 'F') =>
  Flags.option({ options: imageFormats })({
    char,
    summary: `the format of ${which}, which is otherwise found out by its first bytes`,
  });

const snapshotOfOne = (which: string) =>
  Flags.string({ summary: `read this internal snapshot of ${which}, by its name or ID`, helpValue: 'NAME' });

/** What is said of two images, A and B, that are read: the letters are those of `qemu-img compare`. */
export const twoImagesFlags = {
  format: formatOfOne('A', 'f'),
  format2: formatOfOne('B', 'F'),
  snapshot: snapshotOfOne('A'),
  snapshot2: snapshotOfOne('B'),
  'force-share': forceShare,
};

/** What is said of an image that is changed. */
export const formatFlag = { format };

/** What the flags say of the image. */
export function sourceOf(flags: {
  readonly format?: ImageFormat | undefined;
  readonly snapshot?: string | undefined;
  readonly 'force-share': boolean;
}): SourceOptions {
  return { format: flags.format, snapshot: flags.snapshot, forceShare: flags['force-share'] };
}

export const strict = Flags.boolean({
  summary: 'exit with status 3 when anything was left alone',
});
