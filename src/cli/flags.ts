import { Args, Flags } from '@oclif/core';
import { parseDuration, parseSize } from './quantities.js';

/** The flags and arguments that several verbs share: one meaning, one wording. */

export const sizeFlag = Flags.custom<bigint>({ parse: async (text) => parseSize(text), helpValue: 'SIZE' });

export const durationFlag = Flags.custom<number>({ parse: async (text) => parseDuration(text), helpValue: 'TIME' });

export const imageArg = (description = 'the disk image: a file or a block device') =>
  Args.string({ description, required: true, ignoreStdin: true });

export const forceShare = Flags.boolean({
  char: 'U',
  summary: 'read the image although somebody is writing to it',
  description: 'What is read may be torn: it shows different moments of the disk.',
});

export const strict = Flags.boolean({
  summary: 'exit with status 3 when anything was left alone',
});
