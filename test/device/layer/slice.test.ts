import { expect, test } from 'vitest';
import { Slice } from '../../../src/device/layer/slice.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

test('moves every request by its own start, and leaves the disk open', async () => {
  await using disk = memoryDevice(2n ** 63n - 1n, 'a.img');
  const start = 2n ** 62n + 1n;
  const slice = new Slice(disk, start, 1000n);
  await slice.write(Uint8Array.of(1, 2, 3), 997n);
  const bytes = new Uint8Array(5);
  await disk.read(bytes, start + 996n);
  expect([...bytes]).toEqual([0, 1, 2, 3, 0]);
  await slice.close();
  await disk.read(bytes, 0n);
});

test('hands on the host file, shifted', async () => {
  await using disk = memoryDevice(10_000n);
  const slice = new Slice(new Slice(disk, 100n, 5000n), 23n, 10n);
  expect(slice.facts.hostFile).toEqual({ fd: disk.fd, offset: 123n, kind: 'memory' });
  expect(slice.name).toBe('slice[23+10] of slice[100+5000] of memory[10000]');
});

test.each([
  [-1n, 1n],
  [0n, 101n],
  [101n, 0n],
  [100n, 1n],
  [50n, -1n],
])('refuses a window at %d of %d bytes over 100', async (offset, length) => {
  await using disk = memoryDevice(100n);
  expect(() => new Slice(disk, offset, length)).toThrow(expect.objectContaining({ code: 'USAGE' }));
});
