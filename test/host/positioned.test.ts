import { closeSync, readSync, write, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { call } from '../../src/host/libc.js';
import { readAt, readNow, writeAt } from '../../src/host/positioned.js';
import { temporaryFolder } from '../support/temporary.js';

const huge = 2n ** 53n + 1n;

/** A file in memory of the largest size: ordinary filesystems of a test machine have no room for such offsets. */
function hugeFile(): number {
  const fd = Number(call('memfdCreate', 'for a test', 'test', 1));
  onTestFinished(() => closeSync(fd));
  call('ftruncate', 'of a test', fd, 2n ** 63n - 1n);
  return fd;
}

function byteAt(fd: number, offset: bigint): number | undefined {
  const bytes = new Uint8Array(1);
  readSync(fd, bytes, 0, 1, offset);
  return bytes[0];
}

/** What @types/node does not let through, and JavaScript does. */
const nodeWriteSync: (fd: number, from: Uint8Array, start: number, length: number, position: unknown) => number = (
  fd,
  from,
  start,
  length,
  position,
) => Reflect.apply(writeSync, undefined, [fd, from, start, length, position]);

test.each([
  ['a bigint', huge],
  ['a small bigint', 4096n],
  ['a number past 2^53', 2 ** 53 + 2],
])('fs.writeSync given %s writes at the current position: why writeAt never hands it one', (_, position) => {
  const fd = hugeFile();
  nodeWriteSync(fd, Uint8Array.of(7), 0, 1, position);
  // Should Node ever learn it, this fails, and koffi's pwrite may go.
  expect([byteAt(fd, 0n), byteAt(fd, BigInt(position))]).toEqual([7, 0]);
});

test('fs.write, too, writes at the current position past 2^53', async () => {
  const fd = hugeFile();
  await promisify(write)(fd, Uint8Array.of(7), 0, 1, 2 ** 53 + 2);
  expect([byteAt(fd, 0n), byteAt(fd, 2n ** 53n + 2n)]).toEqual([7, 0]);
});

test.each([0n, 1n, 2n ** 31n, 2n ** 32n + 1n, huge - 3n, huge - 2n, huge - 1n, huge, 2n ** 62n, 2n ** 63n - 3n])(
  'writes and reads at byte %d, and nowhere else',
  async (offset) => {
    const fd = hugeFile();
    await writeAt(fd, Uint8Array.of(1, 2), offset, 'memory');
    const bytes = new Uint8Array(2);
    expect(await readAt(fd, bytes, offset, 'memory')).toBe(2);
    expect([...bytes]).toEqual([1, 2]);
    expect(readNow(fd, bytes.fill(0), offset, true)).toBe(2);
    expect([...bytes]).toEqual([1, 2]);
    if (offset > 1n) expect([byteAt(fd, 0n), byteAt(fd, offset - 1n)]).toEqual([0, 0]);
    if (offset + 2n < 2n ** 63n - 1n) expect(byteAt(fd, offset + 2n)).toBe(0);
  },
);

test('writes across 2^53', async () => {
  const fd = hugeFile();
  const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => 1 + (i % 255));
  await writeAt(fd, bytes, 2n ** 53n - 5000n, 'memory');
  const back = new Uint8Array(10_000);
  await readAt(fd, back, 2n ** 53n - 5000n, 'memory');
  expect(Buffer.compare(back, bytes)).toBe(0);
});

test('reads up to the end of a file, and says how much that was', async () => {
  const path = join(await temporaryFolder(), 'short');
  await using handle = await open(path, 'w+');
  await handle.write(Buffer.alloc(1000, 5));
  const into = new Uint8Array(600);
  expect(await readAt(handle.fd, into, 700n, path)).toBe(300);
  expect(await readAt(handle.fd, into, 1000n, path)).toBe(0);
  expect(readNow(handle.fd, into, 700n, false)).toBeLessThanOrEqual(300);
  expect(readNow(handle.fd, into, 1000n, false)).toBe(0);
  expect(readNow(-1, into, 0n, false)).toBe(0);
});

test('names the operation, the place and the file when it fails', async () => {
  const path = join(await temporaryFolder(), 'a.img');
  await using handle = await open(path, 'w');
  await expect(readAt(handle.fd, new Uint8Array(4), 8n, path)).rejects.toMatchObject({
    message: `read of 4 bytes at byte 8 of ${path}: bad file descriptor (EBADF)`,
    facts: { offset: 8n },
  });
  await expect(writeAt(-1, new Uint8Array(4), huge, 'nothing')).rejects.toMatchObject({ code: 'IO', errno: 'EBADF' });
});

test('no property of the offset changes what is written', async () => {
  const fd = hugeFile();
  const offset = fc.oneof(fc.bigInt(0n, 2n ** 63n - 2n), fc.bigInt(2n ** 53n - 4n, 2n ** 53n + 4n));
  await fc.assert(
    fc.asyncProperty(offset, fc.integer({ min: 1, max: 255 }), async (at, byte) => {
      await writeAt(fd, Uint8Array.of(byte), at, 'memory');
      expect(byteAt(fd, at)).toBe(byte);
    }),
    { numRuns: 100 },
  );
});
