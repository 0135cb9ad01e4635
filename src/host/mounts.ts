import { readFileSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { DiskError } from '../error/disk-error.js';
import { wrapSystemError } from './errno.js';

/** One line of /proc/self/mountinfo: proc(5). */
export interface Mount {
  /** Unique while it lasts. */
  readonly id: number;
  readonly parent: number;
  /** `major:minor` of the filesystem itself: one for all the mounts of a filesystem, btrfs subvolumes among them. */
  readonly device: string;
  readonly mountPoint: string;
  /** `ext4` */
  readonly type: string;
  /** `/dev/loop0`, or whatever the filesystem calls it. */
  readonly source: string;
  readonly readOnly: boolean;
  /** Whether nobody writes to it through any other mount either, as long as that is not changed. */
  readonly filesystemReadOnly: boolean;
}

/** All the mounts that this process sees, in the order in which they were made. */
export function readMounts(): Mount[] {
  return parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** Reads what /proc/self/mountinfo holds; a line that makes no sense is left out. */
export function parseMountinfo(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ', 2);
    const [id, parent, device, , mountPoint, options] = before.split(' ');
    const [type, source, superOptions] = after.split(' ');
    if (device === undefined || mountPoint === undefined || type === undefined || source === undefined) return [];
    return [
      {
        id: Number(id),
        parent: Number(parent),
        device,
        mountPoint: decode(mountPoint),
        type,
        source: decode(source),
        readOnly: [options, superOptions].some((list) => list?.split(',').includes('ro')),
        filesystemReadOnly: superOptions?.split(',').includes('ro') === true,
      },
    ];
  });
}

/** Space, tab, newline and backslash are written as three octal digits: byte by byte, the rest stands as it is. */
function decode(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The mount that holds a path which has no symbolic links in it; the uppermost one where several lie on each other. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  for (let at = path; ; at = dirname(at)) {
    const found = mounts.findLast(({ mountPoint }) => mountPoint === at);
    if (found !== undefined || at === '/') return found;
  }
}

/**
 * The mount whose mount point a user names.
 *
 * @throws {DiskError} NOT_FOUND when there is no such path, or it is no mount point: then the message names the mount
 * that it lies on
 */
export function mountAt(path: string, mounts: readonly Mount[] = readMounts()): Mount {
  const real = realPath(path);
  const mount = mountOf(real, mounts);
  if (mount?.mountPoint === real) return mount;
  const lies = mount === undefined ? '' : `: it lies on the mount ${mount.mountPoint}`;
  throw new DiskError('NOT_FOUND', `${path}: not a mount point${lies}`, { device: path });
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    throw wrapSystemError(path, error, { device: path });
  }
}

/** The mount that holds the file behind a loop device's mount, or undefined when it is on no loop device. */
export function backingMount(mount: Mount, mounts: readonly Mount[]): Mount | undefined {
  const path = backingFile(mount);
  return path === undefined ? undefined : mountOf(path, mounts);
}

function backingFile({ device, source }: Mount): string | undefined {
  // btrfs has a device number that is no block device's: its source tells.
  const names = [`/sys/dev/block/${device}`, `/sys/class/block/${source.replace(/^\/dev\//, '').replace(/\//g, '!')}`];
  for (const name of names) {
    // A partition of a loop device keeps its folder inside the device's own.
    for (const folder of [name, `${name}/..`]) {
      try {
        return readFileSync(`${folder}/loop/backing_file`, 'utf8').trimEnd();
      } catch {
        // No loop device by that name.
      }
    }
  }
  return undefined;
}

/**
 * The mount and every mount that it stands on: what holds its loop device's file, and so on down.
 */
export function standsOn(mount: Mount, mounts: readonly Mount[]): Mount[] {
  const found = [mount];
  for (let below = backingMount(mount, mounts); below !== undefined; below = backingMount(below, mounts)) {
    if (found.some(({ id }) => id === below?.id)) break;
    found.push(below);
  }
  return found;
}
