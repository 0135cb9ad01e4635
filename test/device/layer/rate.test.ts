import { expect, test } from 'vitest';
import { done } from '../../../src/device/block-device.js';
import { RateLayer } from '../../../src/device/layer/rate.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

test('what is asked beyond the rate waits for what was asked before, and a large request goes through whole', async () => {
  await using device = new RateLayer(memoryDevice(1_000_000n), 1_000_000);
  const start = performance.now();
  // More than was saved up: paid for by whoever comes next.
  expect(device.read(new Uint8Array(300_000), 0n)).toBe(done);
  await device.write(new Uint8Array(1), 0n);
  // 300 ms less the 100 that were saved up, by a clock of its own.
  expect(performance.now() - start).toBeGreaterThan(190);
});

test('all else is free', async () => {
  await using device = new RateLayer(memoryDevice(1_000_000n), 1);
  await device.read(new Uint8Array(1), 0n);
  await device.flush();
  await device.zero(0n, 1_000_000n);
  await device.trim(0n, 1_000_000n);
  for await (const _ of device.extents());
});

test('a wait ends with its request or with the device', async () => {
  const device = new RateLayer(memoryDevice(1_000_000n), 1);
  await device.read(new Uint8Array(1000), 0n);
  const stop = new AbortController();
  const cancelled = expect(device.read(new Uint8Array(1), 0n, { signal: stop.signal })).rejects.toMatchObject({
    code: 'CANCELLED',
  });
  stop.abort();
  await cancelled;
  const closed = expect(device.read(new Uint8Array(1), 0n)).rejects.toMatchObject({ errno: 'EBADF' });
  await device.close();
  await closed;
});
