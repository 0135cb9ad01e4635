import { expect, test } from 'vitest';
import { RoundLayer } from '../../../src/device/layer/round.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

const up = (size: bigint, to = 512n) => new RoundLayer(memoryDevice(size), { to, direction: 'up' });

test('what was rounded up reads as zeros, is a hole, and takes zeros alone', async () => {
  await using device = up(1000n);
  expect(device.facts.size).toBe(1024n);
  await device.write(new Uint8Array(1000).fill(7), 0n);
  const bytes = new Uint8Array(1024).fill(0xee);
  await device.read(bytes, 0n);
  expect(bytes).toEqual(new Uint8Array(1024).fill(7, 0, 1000));
  await expect(device.write(Uint8Array.of(0, 1), 999n)).rejects.toMatchObject({ code: 'IO', errno: 'ENOSPC' });
  await device.write(Uint8Array.of(9, 0, 0), 999n);
  await device.write(new Uint8Array(24), 1000n);
  await device.zero(990n, 34n);
  await device.trim(1000n, 24n);
  await device.read(bytes, 0n);
  expect(bytes).toEqual(new Uint8Array(1024).fill(7, 0, 990));
  const extents = [];
  for await (const extent of device.extents()) extents.push(extent);
  expect(extents.at(-1)).toMatchObject({ offset: 1000n, length: 24n, allocated: false, zero: true });
});

test('a write that is refused leaves what lies before the end as it was', async () => {
  await using device = up(1000n);
  await expect(device.write(Uint8Array.of(5, 5), 999n)).rejects.toMatchObject({ errno: 'ENOSPC' });
  const bytes = new Uint8Array(1);
  await device.read(bytes, 999n);
  expect(bytes[0]).toBe(0);
});

test('2^63 - 1 bytes are rounded down to whole sectors, and refused upwards', async () => {
  await using below = memoryDevice(2n ** 63n - 1n);
  expect(new RoundLayer(below, { to: 512n, direction: 'down' }).facts.size).toBe(2n ** 63n - 512n);
  expect(() => new RoundLayer(below, { to: 512n, direction: 'up' })).toThrow('passes 2^63-1');
});

test('a size that is a multiple already stays', async () => {
  await using device = up(1024n);
  expect(device.facts.size).toBe(1024n);
});
