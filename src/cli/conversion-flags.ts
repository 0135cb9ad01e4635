import { Flags } from '@oclif/core';
import { toNumber } from '../binary/convert.js';
import { DiskError } from '../error/disk-error.js';
import { type Conversion, copyFormats } from '../task/conversion.js';
import { parseSize } from './quantities.js';

/** What `-o` knows, in QEMU's names. */
const optionNames = ['cluster_size'] as const;

/** What is said of the format of a copy. */
export const conversionFlags = {
  convert: Flags.option({ options: copyFormats })({
    summary: 'the format of the copy, which is otherwise that of the image',
    description: 'raw and qcow2 are written by disktool itself, all others through qemu-img and qemu-nbd; vpc is VHD.',
  }),
  compress: Flags.option({ options: ['zlib', 'zstd'] as const })({
    summary: 'compress the clusters of a qcow2 copy; zstd is the faster, and QEMU reads it from 5.1 on',
  }),
  option: Flags.string({
    char: 'o',
    summary: 'an option of the qcow2 copy: cluster_size=SIZE, a power of two from 512 to 2M, 64K unless told',
    helpValue: 'NAME=VALUE',
    multiple: true,
    multipleNonGreedy: true,
  }),
};

interface ConversionFlags {
  readonly convert?: Conversion['convert'] | undefined;
  readonly compress?: Conversion['compress'] | undefined;
  readonly option?: readonly string[] | undefined;
}

/** The first of the flags that is said, as it is said: for who has no use for them. */
export function saidOfConversion({ convert, compress, option }: ConversionFlags): string | undefined {
  if (convert !== undefined) return '--convert';
  if (compress !== undefined) return '--compress';
  return option === undefined ? undefined : '-o';
}

/**
 * What the flags say of the copy.
 *
 * @throws {DiskError} USAGE for an option that is not known, comes twice, or has no value of its kind
 */
export function conversionOf(flags: ConversionFlags): Conversion {
  const given = new Map<string, string>();
  for (const part of (flags.option ?? []).flatMap((text) => text.split(','))) {
    const [name = '', value] = part.split(/=(.*)/s);
    if (!optionNames.some((known) => known === name)) {
      throw new DiskError('USAGE', `-o has no option "${name}": it knows ${optionNames.join(', ')}`);
    }
    if (value === undefined) throw new DiskError('USAGE', `-o ${name} has no value: write it like ${name}=64k`);
    if (given.has(name)) throw new DiskError('USAGE', `-o ${name} is said twice`);
    given.set(name, value);
  }
  const clusterSize = given.get('cluster_size');
  return {
    convert: flags.convert,
    compress: flags.compress,
    clusterSize: clusterSize === undefined ? undefined : toNumber(parseSize(clusterSize)),
  };
}
