import { Flags } from '@oclif/core';
import { DiskError } from '../error/disk-error.js';
import { type BadStatus, badStatuses } from '../task/block-map/bad-sectors.js';
import { imageFlags, sizeFlag } from './flags.js';
import { parseOffset } from './quantities.js';

/** The flags of `bmap`: those of the map itself, and those that ask something instead. */

const ofTheMap = ['output', 'force', 'free'];

const offsetsFlag = Flags.custom<readonly bigint[]>({
  parse: async (text) => text.split(',').map(parseOffset),
  helpValue: 'OFFSET[,OFFSET...]',
});

/** A file of a device. */
export interface FileOfDevice {
  readonly device: string;
  readonly path: string;
}

const fileFlag = Flags.custom<FileOfDevice>({
  parse: async (text) => {
    // A label may have a colon in it, and a path too.
    const at = text.includes(':/') ? text.indexOf(':/') : text.indexOf(':');
    if (at <= 0) throw new DiskError('USAGE', `"${text}" names no file: write it like /dev/sda1:/etc/fstab`);
    return { device: text.slice(0, at), path: text.slice(at + 1) };
  },
  helpValue: 'DEVICE:PATH',
});

const statusesFlag = Flags.custom<readonly BadStatus[]>({
  parse: async (text) => {
    const found = badStatuses.filter((status) => text.includes(status));
    if (text !== '' && [...text].every((letter) => badStatuses.some((status) => status === letter))) return found;
    throw new DiskError('USAGE', `"${text}" are no statuses: write some of ${badStatuses.join('')}`);
  },
  helpValue: 'STATUSES',
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
  file: fileFlag({
    summary: 'say where this file or directory lies on the disk, instead of writing a map',
    description:
      'As filefrag -v does, in bytes: where each part begins in the file and on the disk, and which parts are unwritten, inline (within the inode) or blocks of its own metadata. DEVICE is named as for ls, PATH is from the root of its filesystem; symbolic links are followed. Nothing but the file is read.',
    exclusive: [...ofTheMap, 'at'],
  }),
  'bad-sectors': Flags.string({
    summary: 'say which files are damaged by the bad sectors that this file lists, instead of writing a map',
    description:
      'FILE is a map of ddrescue, or has a number a line; - is standard input. Of a map, all blocks count that are not finished (+), since a copy has none of them; see --statuses. Numbers are offsets in bytes and stand for the sector of 512 bytes that they lie in, or count sectors of --sector-size. Each file is named once, with how many of its bytes are bad; then what else is hit: metadata by its kind, free space, the partition table, what nobody has.',
    helpValue: 'FILE',
    exclusive: [...ofTheMap, 'at', 'file'],
  }),
  'sector-size': sizeFlag({
    summary: 'the numbers of FILE count sectors of this size, as badblocks -b and ddrescuelog -b write them',
    dependsOn: ['bad-sectors'],
  }),
  statuses: statusesFlag({
    summary: 'which blocks of a map of ddrescue are bad: any of ? (not tried) * (not trimmed) / (not scraped) - (bad)',
    dependsOn: ['bad-sectors'],
  }),
  ...imageFlags,
};
