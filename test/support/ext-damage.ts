import { open } from 'node:fs/promises';
import { run } from './run.js';

/** Damages an image by mke2fs, of blocks of 1024 bytes and without checksums, where debugfs says that something lies. */

const blockSize = 1024;

async function overwrite(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, offset);
}

/** Bytes from the start of the image. */
export async function inodeOf(image: string, path: string): Promise<number> {
  const text = await run('debugfs', ['-R', `imap ${path}`, image]);
  const [, block, offset] = /located at block (\d+), offset 0x([0-9a-f]+)/.exec(text) ?? [];
  return Number(block) * blockSize + Number.parseInt(offset ?? '', 16);
}

/** Bytes from the start of the image of each of its blocks. */
export async function blocksOf(image: string, path: string): Promise<number[]> {
  const text = await run('debugfs', ['-R', `blocks ${path}`, image]);
  return text
    .trim()
    .split(/\s+/)
    .map((block) => Number(block) * blockSize);
}

/** Makes the inode of a file that of nothing. */
export async function damageInode(image: string, path: string): Promise<void> {
  await overwrite(image, await inodeOf(image, path), new Uint8Array(2));
}

/** Makes nonsense of a block of a directory, the last one unless given. */
export async function damageDirectory(image: string, path: string, which = -1): Promise<void> {
  const block = (await blocksOf(image, path)).at(which);
  if (block === undefined) throw new Error(`${path} has no such block`);
  await overwrite(image, block, Buffer.alloc(blockSize, 0xff));
}
