import { readdir, readFile } from 'node:fs/promises';
import { toNumber } from '../binary/convert.js';
import { type Mount, readMounts } from './mounts.js';

/** What the kernel itself does with a block device or with the partitions on it. */
export interface BlockUsers {
  /** Where it is mounted, in this mount namespace. */
  readonly mounts: readonly Mount[];
  /** Devices made of it: `dm-0`, `md127`. */
  readonly holders: readonly string[];
  /** Whether nothing can write to the device, by its own switch. */
  readonly readOnly: boolean;
}

/** @param rdev the device's own number, as stat(2) gives it */
export async function findBlockUsers(rdev: bigint): Promise<BlockUsers> {
  const folder = `/sys/dev/block/${deviceNumber(rdev)}`;
  const parts = await partitionsOf(folder);
  const folders = [folder, ...parts.map((part) => `${folder}/${part}`)];
  const numbers = await Promise.all(folders.map((path) => text(`${path}/dev`)));
  const name = /^DEVNAME=(.*)$/m.exec(await text(`${folder}/uevent`))?.[1] ?? '';
  const sources = [name, ...parts].filter((known) => known !== '').map((known) => `/dev/${known}`);
  const holders = await Promise.all(folders.map((path) => readdir(`${path}/holders`).catch(() => [])));
  return {
    // btrfs has numbers of its own, so its mounts are known by their source alone.
    mounts: readMounts().filter(({ device, source }) => numbers.includes(device) || sources.includes(source)),
    holders: holders.flat(),
    readOnly: (await text(`${folder}/ro`)) === '1',
  };
}

async function partitionsOf(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const numbers = await Promise.all(names.map((name) => text(`${folder}/${name}/partition`)));
  return names.filter((_, i) => numbers[i] !== '');
}

/** `major:minor`, taken from stat(2)'s encoding: sys/sysmacros.h. */
function deviceNumber(rdev: bigint): string {
  const number = toNumber(rdev, { structure: 'device number' });
  const high = Math.floor(number / 2 ** 32);
  const major = ((number >>> 8) & 0xfff) | (high & 0xfffff000);
  const minor = (number & 0xff) | ((number >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

async function text(path: string): Promise<string> {
  return (await readFile(path, 'utf8').catch(() => '')).trimEnd();
}
