import type { BlockDevice } from '../../device/block-device.js';
import { hasSharedExtents } from '../../host/fiemap.js';
import { hostFilesystem } from '../../host/filesystem-type.js';

/** Filesystems on which a file's block count says little of the room it takes. */
const miscounting: ReadonlySet<string> = new Set(['btrfs', 'zfs', 'bcachefs']);

/** What the user should know of the host's filesystem before room is given back on it. */
export function hostWarnings({ name, facts: { hostFile, extents, size } }: BlockDevice): string[] {
  if (hostFile === undefined || !extents) return [];
  const { type } = hostFilesystem(hostFile.fd);
  if (miscounting.has(type)) {
    return [
      `${name} is on ${type}, where the allocated size does not say what was given back: see the free space of the host`,
    ];
  }
  if (hasSharedExtents(hostFile.fd, size)) {
    return [`${name} shares blocks with another file: these take room until the other lets go of them as well`];
  }
  return [];
}
