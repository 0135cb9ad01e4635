import { Flags } from '@oclif/core';
import { DiskError } from '../error/disk-error.js';
import type { TraceOptions } from '../task/serve/trace/trace-options.js';
import { jsonLines, textLines } from './view/trace-lines.js';

/** The flags that say what is told of a guest's accesses, and what they say. */

const helpGroup = 'TRACE';

export const traceFlags = {
  trace: Flags.boolean({
    summary: 'write a line for each run of accesses to one file or other part of the disk',
    description:
      'To standard output, or to standard error where that is the command\'s (--run) or the client\'s (--single). A line is read or write (zeroing and trimming count as writing), the kind, the device and the path as in "bmap": v the disk, p a partition, f a file, d a directory, m metadata, s swap, u free space. Kind w is what has been written since the map was made: it goes by no older name. Of a file with several names, the first in the map is told. What a reader is too slow for waits in memory; past 64 MiB a line "lost N" stands for N others. The guest never waits.',
    helpGroup,
  }),
  'trace-file': Flags.string({
    summary: 'write these lines to a new file, a FIFO or a device',
    helpValue: 'FILE',
    helpGroup,
  }),
  'trace-format': Flags.option({ options: ['text', 'json'] as const })({
    summary: 'the format of the lines: text unless given',
    description:
      'json: one object a line, for each run of accesses to one object that lie in a row on the disk, with time (seconds since 1970), offset (bytes from the start of the disk) and length; it is written when the run has ended, or nothing has come for a second.',
    helpGroup,
  }),
  map: Flags.string({
    summary: 'use this block map, made by "bmap -o" before, and make none',
    helpValue: 'MAP',
    helpGroup,
  }),
};

export interface TraceFlagValues {
  readonly trace: boolean;
  readonly 'trace-file'?: string | undefined;
  readonly 'trace-format'?: 'text' | 'json' | undefined;
  readonly run?: string | undefined;
  readonly single: boolean;
}

/** What is traced and where that is told; undefined: nothing. @throws {DiskError} USAGE */
export function traceOf(flags: TraceFlagValues, json: boolean): TraceOptions | undefined {
  const { trace, 'trace-file': file, 'trace-format': format, run, single } = flags;
  const asked = trace || file !== undefined;
  if (!asked && format !== undefined) throw new DiskError('USAGE', '--trace-format goes with --trace or --trace-file');
  if (!asked) return undefined;
  if (file === undefined && json) {
    throw new DiskError('USAGE', 'the lines of --trace would stand among the document of --json: give --trace-file');
  }
  const to = file !== undefined ? { file } : run !== undefined || single ? ('error' as const) : ('output' as const);
  return { lines: { to, ...(format === 'json' ? jsonLines : textLines) } };
}

/** Whether standard output has lines that somebody reads as a trace. */
export function tracesToOutput(trace: TraceOptions | undefined): boolean {
  return trace?.lines?.to === 'output';
}
