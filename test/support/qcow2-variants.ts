import { join } from 'node:path';
import { qemuIo } from './qcow2-image.js';
import { run } from './run.js';
import { temporaryFolder } from './temporary.js';

/** Writes, zeroes and discards that leave clusters of every kind, in an order of their own in the file. */
const usual = [
  'write -P 1 0 64k',
  'write -P 2 1M 300k',
  'write -P 3 700k 5k',
  'write -z 2M 256k',
  'write -z -u 2500k 100k',
  'write -P 4 5M 1M',
  'discard 5300k 200k',
  'write -P 5 3M 128k',
  'write -z 3M 64k',
  'write -P 6 128k 128k',
  'write -P 7 6000k 100',
];
const compressed = (size: string) =>
  [0, 3, 4, 5, 40].map((i) => `write -c -P ${i + 16} ${i * Number.parseInt(size, 10)}k ${size}`);

interface Variant {
  options: string;
  size?: string;
  commands?: readonly string[];
}

/** Images as qemu-img and qemu-io make them: one of each option that changes how clusters are kept. */
const variants: Record<string, Variant> = {
  'version 2': { options: 'compat=0.10', commands: usual },
  'version 3': { options: 'compat=1.1', commands: usual },
  'clusters of 512 bytes': { options: 'cluster_size=512', commands: usual },
  'clusters of 4 KiB': { options: 'cluster_size=4k', commands: usual },
  'clusters of 2 MiB': { options: 'cluster_size=2M', commands: usual, size: '30M' },
  'refcounts of 1 bit': { options: 'refcount_bits=1', commands: usual },
  'refcounts of 2 bits, many clusters allocated and not stored': {
    options: 'refcount_bits=2,preallocation=metadata,cluster_size=4k',
    commands: usual,
  },
  'refcounts of 64 bits': { options: 'refcount_bits=64', commands: usual },
  'refcounts of 64 bits, many clusters allocated and not stored': {
    options: 'refcount_bits=64,preallocation=metadata',
    commands: usual,
  },
  'lazy refcounts': { options: 'lazy_refcounts=on', commands: usual },
  'a size that is no multiple of a cluster': { options: '', size: '6302208', commands: usual },
  'a size of 0': { options: '', size: '0' },
  'zlib clusters': { options: '', commands: [...compressed('64k'), 'write -P 9 200k 20k'] },
  'zlib clusters of 512 bytes': { options: 'cluster_size=512', commands: ['write -P 1 0 8k', 'write -c -P 2 8k 512'] },
  'zlib clusters of 2 MiB': { options: 'cluster_size=2M', commands: compressed('2048k'), size: '100M' },
  'zstd clusters': { options: 'compression_type=zstd', commands: [...compressed('64k'), 'write -P 9 200k 20k'] },
  'zstd clusters of 2 MiB': {
    options: 'compression_type=zstd,cluster_size=2M',
    commands: compressed('2048k'),
    size: '100M',
  },
  'extended L2 entries': { options: 'extended_l2=on', commands: usual },
  'extended L2 entries, clusters of 16 KiB': { options: 'extended_l2=on,cluster_size=16k', commands: usual },
  'extended L2 entries, compressed clusters': { options: 'extended_l2=on', commands: [...compressed('64k'), ...usual] },
  'extended L2 entries, zstd clusters of 2 MiB': {
    options: 'extended_l2=on,compression_type=zstd,cluster_size=2M',
    commands: compressed('2048k'),
    size: '100M',
  },
  'extended L2 entries, many clusters allocated and not stored': {
    options: 'extended_l2=on,preallocation=metadata',
    commands: usual,
  },
  'a data file': { options: 'data_file=data.raw', commands: usual },
  'a data file that is raw': { options: 'data_file=data.raw,data_file_raw=on', commands: usual },
  'a data file, extended L2 entries': { options: 'data_file=data.raw,extended_l2=on', commands: usual },
  'preallocation off': { options: 'preallocation=off', commands: usual },
  'preallocation of metadata': { options: 'preallocation=metadata', commands: usual },
  'preallocation of metadata, nothing written': { options: 'preallocation=metadata' },
  'preallocation by fallocate': { options: 'preallocation=falloc', commands: usual },
  'preallocation in full': { options: 'preallocation=full', commands: usual },
};

export const qcow2Variants = Object.keys(variants);

/** Makes an image in a folder of its own. */
export async function makeVariant(title: string): Promise<string> {
  const variant = variants[title];
  if (variant === undefined) throw new Error(`no variant is named ${title}`);
  const { options, size = '8M', commands = [] } = variant;
  const path = join(await temporaryFolder(), 'a.qcow2');
  const given = options === '' ? [] : ['-o', options.replace('data.raw', `${path}.data`)];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...given, path, size]);
  await qemuIo(path, commands);
  return path;
}
