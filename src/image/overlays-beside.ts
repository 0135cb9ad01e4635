import { opendir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import type { BlockDevice } from '../device/block-device.js';
import { FileDevice } from '../device/file-device.js';
import { DiskError } from '../error/disk-error.js';
import { identify } from '../host/file-identity.js';
import { closeFile, findFile, reopen, statFile } from '../host/open-file.js';
import { detectImageFormat } from './image-format.js';
import { readQcow2Header } from './qcow2/header.js';

/** Files of a folder that are looked at: more make no folder of images. */
const mostFiles = 4096;

/**
 * Refuses to change an image that another one in its folder stands on: that other would be destroyed, and nothing tells,
 * as long as it is closed. Where its path is a symbolic link, the folder of what that leads to is looked at as well.
 * Overlays in other folders are not found.
 *
 * @param file the image's own, open
 * @throws {DiskError} UNSAFE (`reason`: `backing-of`)
 */
export async function refuseBackingOf(
  path: string,
  file: BlockDevice,
  onWarning: ((message: string) => void) | undefined,
): Promise<void> {
  const { hostFile } = file.facts;
  if (hostFile === undefined || hostFile.kind === 'block') return;
  const { key } = identify(await statFile(hostFile.fd, path));
  const places = new Set([resolve(path), await realpath(path).catch(() => resolve(path))]);
  const folders = new Set([...places].map((place) => dirname(place)));
  const names = [...places].map((place) => basename(place));
  for (const folder of folders) await refuseBackingIn(folder, { path, key, names }, onWarning);
}

interface Base {
  readonly path: string;
  readonly key: string;
  /** What it is called. */
  readonly names: readonly string[];
}

async function refuseBackingIn(
  folder: string,
  { path, key, names }: Base,
  onWarning: ((message: string) => void) | undefined,
): Promise<void> {
  let looked = 0;
  const entries = await opendir(folder).catch(() => undefined);
  if (entries === undefined) return;
  for await (const entry of entries) {
    if (!entry.isFile() && !entry.isSymbolicLink()) continue;
    if (++looked > mostFiles) {
      onWarning?.(
        `${path}: whether another image stands on it was looked for in ${mostFiles} files of ${folder}, of more`,
      );
      return;
    }
    const name = await backingNameOf(join(folder, entry.name), key).catch(() => undefined);
    if (name === undefined || !(await namesFile(name, folder, key, names))) continue;
    const why = 'changing it would destroy that one: merge it into this one first (qemu-img commit), or work on a copy';
    throw new DiskError('UNSAFE', `${path}: is the backing file of ${join(folder, entry.name)}: ${why}`, {
      device: path,
      reason: 'backing-of',
    });
  }
}

/** The name of the backing file in a qcow2 image; undefined of any other file, and of the one with this key. */
async function backingNameOf(path: string, key: string): Promise<string | undefined> {
  const { fd: place, stats } = await findFile(path);
  let fd: number;
  try {
    if (!stats.isFile() || identify(stats).key === key) return undefined;
    fd = await reopen(place, 'read', path);
  } finally {
    await closeFile(place);
  }
  await using other = new FileDevice(fd, { name: path, size: stats.size, writable: false, blockSize: 4096 });
  if ((await detectImageFormat(other)) !== 'qcow2') return undefined;
  return (await readQcow2Header(other)).backingFile;
}

/** Whether a backing file's name means this file. A name in QEMU's json: notation may hold it anywhere. */
async function namesFile(name: string, folder: string, key: string, ownNames: readonly string[]): Promise<boolean> {
  if (/^json:/.test(name)) return ownNames.some((own) => name.includes(own));
  const plain = name.replace(/^file:/, '');
  const place = isAbsolute(plain) ? plain : join(folder, plain);
  const stats = await stat(place, { bigint: true }).catch(() => undefined);
  return stats !== undefined && identify(stats).key === key;
}
