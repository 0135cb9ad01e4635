import { Flags } from '@oclif/core';
import { DiskError } from '../error/disk-error.js';
import type { ServeOptions } from '../task/serve/serve.js';
import type { ReadaheadList } from '../task/serve/trace/readahead.js';
import type { TraceLines, TraceOptions } from '../task/serve/trace/trace-options.js';
import { splitDevice } from './device-prefix.js';
import { jsonLines, textLines } from './view/trace-lines.js';

/** The flags that say what is told of a guest's accesses, and what they say. */

const helpGroup = 'TRACE';

export const traceFlags = {
  trace: Flags.boolean({
    summary: 'write a line for each run of accesses to one file or other part of the disk',
    description:
      'To standard output, or to standard error where that is the command\'s (--run) or the client\'s (--single). A line is read or write (zeroing and trimming count as writing), the kind, the device and the path as in "bmap": v the disk, p a partition, f a file, d a directory, m metadata, s swap, u free space. Kind w is what has been written since the map was made: it goes by no older name. Of a file with several names, the first in the map is told. What a reader is too slow for waits in memory; past 64 MiB a line "lost N" stands for N others. The guest never waits for that reader.',
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
  'trace-summary': Flags.boolean({
    summary: 'say at the end which files and other parts were read and written, how much, and when first',
    description:
      'To standard error; with --json, a document on standard output, after that of the addresses, unless a command has it (--run). Objects come in the order of their first accesses, which of a guest that boots is the order of its boot. How many times each byte was read is the bytes of all reads by those that were read at all.',
    helpGroup,
  }),
  'readahead-list': Flags.string({
    summary:
      'write the paths of the files that were read, in the order in which they first were, to a new file; may be repeated',
    description:
      'A line has the path of a file from the root of its filesystem, each once, as readahead(8) and vmtouch take them. Of several filesystems, name the one whose files are meant: /dev/sda2:FILE.',
    helpValue: '[DEVICE:]FILE',
    multiple: true,
    multipleNonGreedy: true,
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
  readonly 'trace-summary': boolean;
  readonly 'readahead-list'?: readonly string[] | undefined;
  readonly map?: string | undefined;
  readonly run?: string | undefined;
  readonly single: boolean;
}

/**
 * What is traced and where that is told; undefined: nothing.
 *
 * @param options `exports`: what is served
 * @throws {DiskError} USAGE
 */
export function traceOf(
  flags: TraceFlagValues,
  { json, exports: [first, ...others] }: { readonly json: boolean; readonly exports: ServeOptions['exports'] },
): TraceOptions | undefined {
  const lines = linesOf(flags, json);
  const lists = (flags['readahead-list'] ?? []).map(listOf);
  if (lists.length > 0 && others.length > 0) {
    throw new DiskError('USAGE', '--readahead-list has the files of one disk: serve no others beside it');
  }
  if (lines !== undefined || lists.length > 0 || flags['trace-summary']) return { lines, readahead: lists };
  if (flags.map !== undefined && first.uses === undefined) {
    throw new DiskError(
      'USAGE',
      '--map goes with --trace, --trace-summary, --readahead-list, --error-path or --delay-path',
    );
  }
  return undefined;
}

function linesOf(flags: TraceFlagValues, json: boolean): TraceLines | undefined {
  const { trace, 'trace-file': file, 'trace-format': format, run, single } = flags;
  if (!trace && file === undefined) {
    if (format !== undefined) throw new DiskError('USAGE', '--trace-format goes with --trace or --trace-file');
    return undefined;
  }
  if (file === undefined && json) {
    throw new DiskError('USAGE', 'the lines of --trace would stand beside the document of --json: give --trace-file');
  }
  const to = file !== undefined ? { file } : run !== undefined || single ? ('error' as const) : ('output' as const);
  return { to, ...(format === 'json' ? jsonLines : textLines) };
}

function listOf(text: string): ReadaheadList {
  const { device, rest } = splitDevice(text);
  return { device, file: rest };
}

/** Whether standard output has lines that somebody reads as a trace. */
export function tracesToOutput(trace: TraceOptions | undefined): boolean {
  return trace?.lines?.to === 'output';
}
