import { Flags } from '@oclif/core';
import { imageFlags } from './flags.js';
import { parseOffset } from './quantities.js';

/** The flags of `bmap`: those of the map itself, and those that ask something instead. */

const ofTheMap = ['output', 'force', 'free'];

const offsetsFlag = Flags.custom<readonly bigint[]>({
  parse: async (text) => text.split(',').map(parseOffset),
  helpValue: 'OFFSET[,OFFSET...]',
});

export const bmapFlags = {
  output: Flags.string({ char: 'o', summary: 'write the map to this file', helpValue: 'MAP' }),
  force: Flags.boolean({ char: 'f', summary: 'replace MAP if it is there already' }),
  free: Flags.boolean({ summary: 'say what is free as well' }),
  at: offsetsFlag({
    summary: 'say who has these bytes of the disk, instead of writing a map',
    description:
      'From the whole disk inwards: device, partition, logical volume, metadata, every name of a file and which byte of it. OFFSET is like 4096, 0x1000, 1M, or 512s for a sector, as kernels count them in their messages.',
    exclusive: ofTheMap,
  }),
  ...imageFlags,
};
