import { expect } from 'vitest';
import { DiskError } from '../../src/error/disk-error.js';
import type { FileObject } from '../../src/filesystem/file.js';

/** What may come of any bytes: an answer, or a refusal of ours. */
export async function answer(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
  }
}

/** Extents that are looked at of each file. */
const enough = 500;

/** Asks a file everything that it can be asked, and accepts any answer that makes sense. */
export async function readFile(file: FileObject): Promise<void> {
  await answer(async () => {
    for (const { value } of await file.xattrs()) expect(value.length).toBeLessThanOrEqual(1 << 24);
  });
  await answer(async () => {
    let count = 0;
    for await (const { offset, length } of file.fileMap()) {
      expect(offset).toBeGreaterThan(0n);
      expect(length).toBeGreaterThan(0n);
      if (++count === enough) break;
    }
  });
  await answer(async () => {
    if (file.type === 'symlink') expect((await file.linkTarget()).includes(0)).toBe(false);
    if (file.type === 'directory') await file.find(Buffer.from('FILE'));
    if (file.type !== 'file') return;
    await using content = await file.content();
    let count = 0;
    const buffer = Buffer.alloc(4096);
    for await (const { offset, length, zero } of content.extents()) {
      if (!zero) await content.read(buffer.subarray(0, Number(length < 4096n ? length : 4096n)), offset);
      if (++count === enough) break;
    }
  });
}
