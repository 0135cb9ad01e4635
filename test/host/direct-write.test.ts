import { randomBytes } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { alignedBuffer } from '../../src/host/aligned-buffer.js';
import { DirectWrites } from '../../src/host/direct-write.js';
import { temporaryFolder } from '../support/temporary.js';

const piece = 256 << 10;

async function openFile() {
  const path = join(await temporaryFolder(), 'file');
  return { path, file: await open(path, 'w') };
}

test('writes whole pages where they belong, beside what goes through the page cache', async () => {
  const { path, file } = await openFile();
  await using _ = file;
  const direct = await DirectWrites.of(file.fd);
  const bytes = alignedBuffer(piece);
  randomBytes(piece).copy(bytes);
  await file.write(Buffer.from('before'), 0, 6, 0);
  expect(await direct.write(bytes, 4096n, path)).toBe(true);
  await direct.close();
  expect((await readFile(path)).subarray(4096).equals(bytes)).toBe(true);
  expect((await readFile(path)).toString('latin1', 0, 6)).toBe('before');
});

test('takes nothing that does not start at a page, in the file or in memory, or is short', async () => {
  const { path, file } = await openFile();
  await using _ = file;
  const direct = await DirectWrites.of(file.fd);
  const bytes = alignedBuffer(piece);
  expect(await direct.write(bytes, 512n, path)).toBe(false);
  expect(await direct.write(bytes.subarray(16, piece - 4096 + 16), 0n, path)).toBe(false);
  expect(await direct.write(bytes.subarray(0, piece - 1), 0n, path)).toBe(false);
  expect(await direct.write(bytes.subarray(0, 4096), 0n, path)).toBe(false);
  await direct.close();
  expect(await readFile(path)).toHaveLength(0);
});

test('takes nothing where the filesystem has no direct I/O, and after it was closed', async () => {
  await using file = await open('/proc/self/comm', 'r+');
  const direct = await DirectWrites.of(file.fd);
  expect(await direct.write(alignedBuffer(piece), 0n, 'comm')).toBe(false);
  await direct.close();
  expect(await direct.write(alignedBuffer(piece), 0n, 'comm')).toBe(false);
});
