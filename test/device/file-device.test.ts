import { open, openSync } from 'node:fs';
import { open as openFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { FileDevice } from '../../src/device/file-device.js';
import { temporaryFolder } from '../support/temporary.js';

const openFd = promisify(open);

async function device(size: number): Promise<{ path: string; file: FileDevice }> {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, Buffer.alloc(size, 1));
  const file = new FileDevice(await openFd(path, 'r+'), {
    name: path,
    size: BigInt(size),
    writable: true,
    blockSize: 4096,
  });
  return { path, file };
}

test('keeps its descriptor until what is in flight has ended, so that no write reaches another file', async () => {
  const { path, file } = await device(8 << 20);
  const writes = Array.from({ length: 8 }, (_, i) => file.write(new Uint8Array(1 << 20).fill(2), BigInt(i << 20)));
  const closing = file.close();
  const other = join(await temporaryFolder(), 'other');
  // Where the descriptor is closed too early, one of these gets its number.
  const others = await Promise.all(Array.from({ length: 8 }, (_, i) => openFile(`${other}${i}`, 'w+')));
  await Promise.all([...writes, closing]);
  for (const [i, handle] of others.entries()) {
    await handle.close();
    expect((await readFile(`${other}${i}`)).length).toBe(0);
  }
  expect((await readFile(path)).every((byte) => byte === 2)).toBe(true);
});

test('says that a file was cut short while it was read', async () => {
  const { path, file } = await device(10_000);
  await using _ = file;
  await truncate(path, 5000);
  await expect(file.read(new Uint8Array(10), 4996n)).rejects.toMatchObject({
    code: 'IO',
    facts: { offset: 5000n, device: path },
  });
});

test('says that a file was cut short rather than calling its lost end a hole', async () => {
  const { path, file } = await device(10_000);
  await using _ = file;
  await truncate(path, 5000);
  const walk = async () => {
    for await (const _extent of file.extents());
  };
  await expect(walk()).rejects.toMatchObject({ code: 'IO', facts: { offset: 5000n, device: path } });
});

test('leaves the length of the file as it is, zeroing and trimming at its end', async () => {
  const { path, file } = await device(10_000);
  await file.zero(5000n, 5000n);
  await file.zero(4000n, 6000n, { mayTrim: true });
  await file.trim(9999n, 1n);
  await file.close();
  const bytes = await readFile(path);
  expect(bytes.length).toBe(10_000);
  expect(bytes.indexOf(0)).toBe(4000);
});

test('fails with the errno when the descriptor is not open for writing', async () => {
  const { path, file } = await device(100);
  await file.close();
  const fd = openSync(path, 'r');
  await using wrong = new FileDevice(fd, { name: 'a.img', size: 100n, writable: true, blockSize: 4096 });
  await expect(wrong.write(new Uint8Array(1), 3n)).rejects.toMatchObject({
    code: 'IO',
    errno: 'EBADF',
    message: 'write of 1 bytes at byte 3 of a.img: bad file descriptor (EBADF)',
  });
  await expect(wrong.zero(0n, 1n)).rejects.toMatchObject({ errno: 'EBADF' });
  await expect(wrong.trim(0n, 1n)).rejects.toMatchObject({ errno: 'EBADF' });
});
