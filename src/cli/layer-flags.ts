import { Flags } from '@oclif/core';
import { RangeSet } from '../binary/range-set.js';
import type { Operation } from '../device/block-device.js';
import { operations } from '../device/block-device.js';
import type { Delays } from '../device/layer/delay.js';
import { type ErrorOptions, type Injection, injectable } from '../device/layer/error.js';
import type { LayerOptions } from '../device/layer/stack.js';
import { DiskError } from '../error/disk-error.js';
import type { PathGlob } from '../task/serve/trace/path-blocks.js';
import type { MapUses } from '../task/serve/trace/use-map.js';
import { splitDevice } from './device-prefix.js';
import { durationFlag, rangeFlag, sizeFlag } from './flags.js';

/** The flags that put layers between a disk and its clients, and what they say. */

const helpGroup = 'LAYERS';

const fraction = Flags.custom<number>({
  parse: async (text) => {
    const [, number, percent] = /^(\d+(?:\.\d+)?|\.\d+)(%?)$/.exec(text) ?? [];
    const value = number === undefined ? Number.NaN : Number(number) / (percent === '%' ? 100 : 1);
    if (value >= 0 && value <= 1) return value;
    throw new DiskError('USAGE', `"${text}" is no rate: write it like 100%, 0.5% or 0.25`);
  },
  helpValue: 'RATE',
});
const errno = Flags.option({ options: injectable });

/** Said at both flags, since nobody reads the other one. */
const pathDescription =
  "A path from the root of a filesystem, like '/var/lib/pg/*', on each device of the disk, or on one: '/dev/sda2:/etc/**'. * matches no slash, ** any number of folders. The blocks are those that the content of the files has when serving begins. Files without any, which are empty or lie in their inodes, are refused.";

/** One flag for each operation: `name('read')`. */
function perOperation<Flag>(name: (operation: Operation) => string, flag: (operation: Operation) => Flag) {
  return Object.fromEntries(operations.map((operation) => [name(operation), flag(operation)]));
}

export const layerFlags = {
  'error-rate': fraction({ summary: 'make this part of all requests fail (not the questions for extents)', helpGroup }),
  'error-file': Flags.string({
    summary: 'make requests fail only while this file exists; alone, all of them',
    helpValue: 'PATH',
    helpGroup,
  }),
  errno: errno({ summary: 'the error that they fail with: EIO unless given', helpGroup }),
  'error-range': rangeFlag({ summary: 'make only requests fail that touch these bytes', helpGroup }),
  'error-path': Flags.string({
    summary: 'make only requests fail that touch the blocks of these files, or --error-range; may be repeated',
    description: pathDescription,
    helpValue: '[DEVICE:]GLOB',
    multiple: true,
    multipleNonGreedy: true,
    helpGroup,
  }),
  ...perOperation(
    (operation) => `error-${operation}-rate`,
    (operation) => fraction({ summary: `--error-rate for ${operation} alone`, helpGroup }),
  ),
  ...perOperation(
    (operation) => `error-${operation}-file`,
    (operation) => Flags.string({ summary: `--error-file for ${operation} alone`, helpValue: 'PATH', helpGroup }),
  ),
  ...perOperation(
    (operation) => `errno-${operation}`,
    (operation) => errno({ summary: `--errno for ${operation} alone`, helpGroup }),
  ),
  delay: durationFlag({ summary: 'make every request wait this long', helpGroup }),
  ...perOperation(
    (operation) => `delay-${operation}`,
    (operation) => durationFlag({ summary: `--delay for ${operation} alone`, helpGroup }),
  ),
  'delay-path': Flags.string({
    summary: 'make only requests wait that touch the blocks of these files; may be repeated',
    description: pathDescription,
    helpValue: '[DEVICE:]GLOB',
    multiple: true,
    multipleNonGreedy: true,
    helpGroup,
  }),
  rate: sizeFlag({ summary: 'read and write no more than this many bytes a second', helpGroup }),
  cow: Flags.boolean({ summary: 'keep writes in memory and leave the disk as it is', helpGroup }),
  'cow-file': Flags.string({
    summary: 'keep writes in a new file, which is gone at the end',
    helpValue: 'PATH',
    exclusive: ['cow'],
    helpGroup,
  }),
  'round-up': sizeFlag({
    summary: 'round the size up to a multiple, with zeros',
    exclusive: ['round-down'],
    helpGroup,
  }),
  'round-down': sizeFlag({ summary: 'round the size down to a multiple', helpGroup }),
  log: Flags.string({
    summary: 'write a line for the begin and the end of each request',
    helpValue: 'PATH',
    helpGroup,
  }),
  stats: Flags.boolean({ summary: 'say at the end how often and how long what was done', helpGroup }),
};

/** What oclif parsed by {@link layerFlags}; those by operation are read by name. */
export type LayerFlagValues = Readonly<Record<string, unknown>>;

/** Where writes go instead of to the disk. */
export function cowOf(flags: LayerFlagValues): 'memory' | { readonly file: string } | undefined {
  const file = flags['cow-file'];
  if (typeof file === 'string') return { file };
  return flags.cow === true ? 'memory' : undefined;
}

/** Files whose blocks alone are disturbed; undefined when none are named. @throws {DiskError} USAGE */
export function pathsOf(flags: LayerFlagValues): Pick<MapUses, 'errorPaths' | 'delayPaths'> | undefined {
  const [errors, delays] = [textsOf(flags['error-path']), textsOf(flags['delay-path'])];
  if (errors.length === 0 && delays.length === 0) return undefined;
  return { errorPaths: errors.map(globOf), delayPaths: delays.map(globOf) };
}

function globOf(text: string): PathGlob {
  const { device, rest } = splitDevice(text);
  return { device, glob: rest };
}

/** @throws {DiskError} USAGE for a multiple or a rate of 0, or for bytes that are to be disturbed in no way */
export function layersOf(flags: LayerFlagValues): Omit<LayerOptions, 'overlay' | 'log'> {
  const up = bigintOf(flags['round-up']);
  const down = bigintOf(flags['round-down']);
  const rate = bigintOf(flags.rate);
  for (const [name, value] of Object.entries({ 'round-up': up, 'round-down': down, rate })) {
    if (value === 0n) throw new DiskError('USAGE', `--${name} 0: it must be above 0`);
  }
  const to = up ?? down;
  return {
    rounding: to === undefined ? undefined : { to, direction: up === undefined ? 'down' : 'up' },
    errors: errorsOf(flags),
    delays: delaysOf(flags),
    rate: rate === undefined ? undefined : Number(rate),
    stats: flags.stats === true,
  };
}

function errorsOf(flags: LayerFlagValues): ErrorOptions | undefined {
  const byOperation: Partial<Record<Operation, Injection>> = {};
  for (const operation of operations) {
    const own = injectionOf(
      flags[`error-${operation}-rate`],
      flags[`error-${operation}-file`],
      flags[`errno-${operation}`],
    );
    if (own !== undefined) byOperation[operation] = own;
  }
  const all = injectionOf(flags['error-rate'], flags['error-file'], flags.errno);
  const range = flags['error-range'];
  const ranged = isRange(range);
  const asked = [all, ...Object.values(byOperation)].some(
    (injection) => injection?.rate !== undefined || injection?.file !== undefined,
  );
  if (!asked) {
    if (
      all === undefined &&
      !ranged &&
      textsOf(flags['error-path']).length === 0 &&
      Object.keys(byOperation).length === 0
    )
      return undefined;
    throw new DiskError('USAGE', 'which requests are to fail? Give --error-rate or --error-file as well');
  }
  return { ...all, byOperation, range: ranged ? RangeSet.of([range]) : undefined };
}

function injectionOf(rate: unknown, file: unknown, name: unknown): Injection | undefined {
  const known = injectable.find((candidate) => candidate === name);
  if (rate === undefined && file === undefined && known === undefined) return undefined;
  return {
    rate: typeof rate === 'number' ? rate : undefined,
    file: typeof file === 'string' ? file : undefined,
    errno: known,
  };
}

function delaysOf(flags: LayerFlagValues): Delays | undefined {
  const delays: Partial<Record<Operation, number>> = {};
  for (const operation of operations) {
    const delay = flags[`delay-${operation}`] ?? flags.delay;
    if (typeof delay === 'number') delays[operation] = delay;
  }
  if (Object.keys(delays).length > 0) return delays;
  if (textsOf(flags['delay-path']).length === 0) return undefined;
  throw new DiskError('USAGE', 'how long are requests to wait? Give --delay as well');
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((text) => typeof text === 'string') : [];
}

function bigintOf(value: unknown): bigint | undefined {
  return typeof value === 'bigint' ? value : undefined;
}

function isRange(value: unknown): value is { offset: bigint; length: bigint } {
  return typeof value === 'object' && value !== null && 'offset' in value && 'length' in value;
}
