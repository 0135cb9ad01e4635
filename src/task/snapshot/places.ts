import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DiskError } from '../../error/disk-error.js';
import { identify } from '../../host/file-identity.js';
import { findLoopDevices } from '../../host/loop-devices.js';
import { type Mount, mountOf, readMounts, standsOn } from '../../host/mounts.js';

/**
 * Looks where the image and its copy are: a copy that is written to a frozen filesystem would never end. Warns where what
 * is frozen is not seen to be in the image.
 *
 * @throws {DiskError} UNSAFE, with the reason `frozen-output`
 */
export async function checkPlaces(
  image: string,
  output: string,
  frozen: readonly Mount[],
  onWarning: ((message: string) => void) | undefined,
): Promise<void> {
  const mounts = readMounts();
  const folder = await realpath(dirname(output)).catch(() => undefined);
  const holder = folder === undefined ? undefined : mountOf(folder, mounts);
  const below = holder === undefined ? [] : standsOn(holder, mounts);
  const trap = frozen.find(({ device }) => below.some((mount) => mount.device === device));
  if (trap !== undefined) {
    throw new DiskError(
      'UNSAFE',
      `${output}: lies on ${trap.mountPoint}, which is to be frozen: the copy would never end`,
      {
        device: output,
        reason: 'frozen-output',
      },
    );
  }
  const sources = await sourcesOf(image);
  for (const mount of frozen) {
    if (sources.some((source) => source === mount.source || isPartitionOf(mount.source, source))) continue;
    onWarning?.(`${mount.mountPoint}: is not seen to be in ${image}: its copy is consistent only where it is`);
  }
}

/** The devices by which an image is mounted. */
async function sourcesOf(image: string): Promise<string[]> {
  const stats = await stat(image, { bigint: true }).catch(() => undefined);
  if (stats === undefined) return [];
  const loops = await findLoopDevices(identify(stats));
  return [...loops.map(({ path }) => path), ...(stats.isBlockDevice() ? [await realpath(image)] : [])];
}

/** `/dev/loop0p1` of `/dev/loop0`, `/dev/sda1` of `/dev/sda`. */
function isPartitionOf(part: string, disk: string): boolean {
  return part.startsWith(disk) && /^(\d+|p\d+)$/.test(part.slice(disk.length));
}
