import { open } from 'node:fs/promises';
import { rawCrc32c } from '../../src/binary/crc.js';
import { viewOf } from '../../src/binary/layout.js';
import type { BlockDevice } from '../../src/device/block-device.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { extSuperblock, superblockOffset } from '../../src/filesystem/ext/on-disk.js';

/** A copy of an image at the start of a device that is as large as it says, and takes no room. */
export async function inMemory(path: string, size: bigint): Promise<BlockDevice> {
  const file = await open(path);
  const device = memoryDevice(size, 'ext in memory');
  try {
    const bytes = new Uint8Array((await file.stat()).size);
    await file.read(bytes, 0, bytes.length, 0);
    await device.write(bytes, 0n);
    return device;
  } catch (error) {
    await device.close();
    throw error;
  } finally {
    await file.close();
  }
}

/** Changes fields of the primary superblock on a device and makes its checksum right again. */
export async function patchOnDevice(
  device: BlockDevice,
  values: Parameters<typeof extSuperblock.put>[1],
): Promise<void> {
  const bytes = new Uint8Array(extSuperblock.size);
  await device.read(bytes, superblockOffset);
  extSuperblock.put(viewOf(bytes), values);
  sealBytes(bytes);
  await device.write(bytes, superblockOffset);
}

/** Makes the checksum of a superblock right again. */
export function sealBytes(superblock: Uint8Array): void {
  const covered = superblock.subarray(0, extSuperblock.fields.s_checksum.offset);
  extSuperblock.put(viewOf(superblock), { s_checksum: rawCrc32c(0xffff_ffff, covered) });
}
