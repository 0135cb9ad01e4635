import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { punchHole, seekData, seekHole, zeroRange } from '../../src/host/sparse.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';
import { mountLoop, temporaryFolder } from '../support/temporary.js';

test('gives back the room of a hole, and finds it again', async () => {
  const path = join(await temporaryFolder(), 'a.img');
  await using handle = await open(path, 'w+');
  await handle.write(Buffer.alloc(1 << 20, 1));
  await handle.sync();
  const before = (await handle.stat()).blocks;
  await punchHole(handle.fd, 256n << 10n, 512n << 10n, path);
  await handle.sync();
  const { size, blocks } = await handle.stat();
  expect(size).toBe(1 << 20);
  expect((before - blocks) * 512).toBe(512 << 10);
  expect([seekHole(handle.fd, 0n, path), seekData(handle.fd, 256n << 10n, path)]).toEqual([256n << 10n, 768n << 10n]);
  expect([seekHole(handle.fd, 1n << 20n, path), seekData(handle.fd, 1n << 20n, path)]).toEqual([undefined, undefined]);
  const bytes = await readFile(path);
  expect(bytes.subarray(256 << 10, 768 << 10).every((byte) => byte === 0)).toBe(true);
  expect(bytes.filter((byte) => byte === 1).length).toBe(512 << 10);
});

const itOnExt4 = needs({ programs: ['mke2fs', 'mount', 'losetup'], root: true });

itOnExt4('zeroes a range without giving back its room', async () => {
  const image = join(await temporaryFolder(), 'ext4.img');
  await run('mke2fs', ['-q', '-t', 'ext4', image, '16M']);
  const { mountPoint } = await mountLoop(image);
  const path = join(mountPoint, 'a');
  await using handle = await open(path, 'w+');
  await handle.write(Buffer.alloc(1 << 20, 1));
  await handle.sync();
  const before = (await handle.stat()).blocks;
  await zeroRange(handle.fd, 100n, 500_000n, path);
  await handle.sync();
  expect((await handle.stat()).blocks).toBe(before);
  const bytes = await readFile(path);
  expect(bytes.every((byte, i) => (byte === 0) === (i >= 100 && i < 500_100))).toBe(true);
});

test('says that a file system cannot, where it is no file of one', async () => {
  await using handle = await open('/dev/null', 'r+');
  await expect(punchHole(handle.fd, 0n, 1n, '/dev/null')).rejects.toMatchObject({
    message: expect.stringMatching(/^fallocate \(punch\) in \/dev\/null: .* \(E[A-Z]+\)$/),
  });
});
