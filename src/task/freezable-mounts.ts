import { statSync } from 'node:fs';
import { type Mount, mountOf, standsOn } from '../host/mounts.js';

/**
 * One mount of each filesystem that `freeze --all` means: on a block device, or btrfs, which has a device number that is
 * none; writable; not the root, nor what holds its image. What of them cannot be frozen the kernel tells.
 */
export function freezableMounts(mounts: readonly Mount[]): Mount[] {
  const root = mountOf('/', mounts);
  const below = new Set(root === undefined ? [] : standsOn(root, mounts).map(({ device }) => device));
  const found = new Map<string, Mount>();
  for (const mount of mounts) {
    if (found.has(mount.device) || below.has(mount.device) || isPseudo(mount) || mount.filesystemReadOnly) continue;
    // What another mount covers cannot be named, nor opened; containers bind single files.
    if (mountOf(mount.mountPoint, mounts) === mount && isFolder(mount.mountPoint)) found.set(mount.device, mount);
  }
  return [...found.values()];
}

function isPseudo({ device, type }: Mount): boolean {
  return device.startsWith('0:') && type !== 'btrfs';
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
