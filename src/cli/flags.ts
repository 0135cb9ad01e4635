import { Args, Flags } from '@oclif/core';
import type { Range } from '../binary/range-set.js';
import { DiskError } from '../error/disk-error.js';
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

export const forceShare = Flags.boolean({
  char: 'U',
  summary: 'read the image although somebody is writing to it',
  description: 'What is read may be torn: it shows different moments of the disk.',
});

export const strict = Flags.boolean({
  summary: 'exit with status 3 when anything was left alone',
});
