import type { RequestOptions } from '../../device/block-device.js';
import { hasCode } from '../../error/disk-error.js';
import type { FileObject } from '../file.js';
import { hibernationMagics, swapPageSizes, swapSignatureSize } from '../swap/on-disk.js';
import { lookUp, type Tree } from '../tree.js';
import { openRoot } from './ext-file.js';
import type { ExtVolume } from './volume.js';

/** Where installers and the manuals of distributions put a swap file. */
const usualPaths = [
  '/swapfile',
  '/swap.img',
  '/swap',
  '/.swapfile',
  '/.swap',
  '/swap/swapfile',
  '/swap/swap.img',
  '/var/swapfile',
  '/var/swap',
  '/var/lib/swap/swapfile',
] as const;

/**
 * The swap file that holds a hibernation image, where swap files usually are: a kernel that sleeps has the filesystem
 * still mounted, and knows better than the disk what is free.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function hibernatedSwapFile(volume: ExtVolume, options: RequestOptions): Promise<string | undefined> {
  const tree: Tree = { name: `ext4 on ${volume.device.name}`, root: await openRoot(volume, options) };
  for (const path of usualPaths) {
    try {
      if (await holdsHibernation(await lookUp(tree, path, { ...options, follow: true }), options)) return path;
    } catch (error) {
      // What cannot be read, a directory that is encrypted, the kernel does not swap to either.
      if (!hasCode(error, 'NOT_FOUND', 'UNSUPPORTED', 'USAGE')) throw error;
    }
  }
  return undefined;
}

async function holdsHibernation(file: FileObject, options: RequestOptions): Promise<boolean> {
  if (file.type !== 'file') return false;
  await using content = await file.content(options);
  for (const size of swapPageSizes) {
    if (BigInt(size) > content.facts.size) break;
    const magic = Buffer.alloc(swapSignatureSize);
    await content.read(magic, BigInt(size - swapSignatureSize), options);
    if (hibernationMagics.some((name) => magic.toString('latin1').startsWith(name))) return true;
  }
  return false;
}
