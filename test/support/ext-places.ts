import { rawCrc32c } from '../../src/binary/crc.js';
import { viewOf } from '../../src/binary/layout.js';
import type { BlockDevice } from '../../src/device/block-device.js';
import { openExt } from '../../src/filesystem/ext/ext.js';
import { extInode, extInodeExtra } from '../../src/filesystem/ext/file-on-disk.js';
import { readInode } from '../../src/filesystem/ext/inode.js';
import { readSuperblock } from '../../src/filesystem/ext/superblock.js';
import { ExtVolume } from '../../src/filesystem/ext/volume.js';
import type { FileExtent } from '../../src/filesystem/file.js';

/** Where a file of an image lies, to damage it. */
export interface Places {
  readonly number: number;
  /** Bytes from the start of the device. */
  readonly inode: number;
  readonly inodeSize: number;
  /** What the checksums of its blocks begin with. */
  readonly seed: number;
  readonly map: readonly FileExtent[];
}

export async function placesOf(device: BlockDevice, path: string): Promise<Places> {
  const file = await (await openExt(device)).open(path, { follow: false });
  const superblock = await readSuperblock(device);
  const volume = await ExtVolume.open(device, superblock);
  const { number, place, checksumSeed: seed } = await readInode(volume, Number(file.id));
  const map: FileExtent[] = [];
  for await (const extent of file.fileMap()) map.push(extent);
  return { number, inode: Number(place.offset), inodeSize: superblock.inodeSize, seed, map };
}

/** The first byte of the content, or of the metadata, of a file. */
export function startOf({ map }: Places, role: FileExtent['role']): number {
  const extent = map.find((found) => found.role === role);
  if (extent === undefined) throw new Error(`there is no ${role}`);
  return Number(extent.offset);
}

/** Changes bytes of a device. */
export async function changeBytes(
  device: BlockDevice,
  offset: number,
  length: number,
  change: (bytes: Buffer) => void,
): Promise<void> {
  const bytes = Buffer.alloc(length);
  await device.read(bytes, BigInt(offset));
  change(bytes);
  await device.write(bytes, BigInt(offset));
}

/** Changes fields of an inode, and makes its checksum right again where there are checksums. */
export async function patchInode(
  device: BlockDevice,
  { inode, inodeSize, seed }: Pick<Places, 'inode' | 'inodeSize' | 'seed'>,
  values: Parameters<typeof extInode.put>[1],
): Promise<void> {
  await changeBytes(device, inode, inodeSize, (bytes) => {
    const view = viewOf(bytes);
    extInode.put(view, values);
    extInode.put(view, { l_i_checksum_lo: 0 });
    extInodeExtra.put(view, { i_checksum_hi: 0 }, extInode.size);
    const checksum = rawCrc32c(seed, bytes);
    extInode.put(view, { l_i_checksum_lo: checksum & 0xffff });
    extInodeExtra.put(view, { i_checksum_hi: checksum >>> 16 }, extInode.size);
  });
}
