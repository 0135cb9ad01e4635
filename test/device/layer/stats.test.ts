import { expect, test } from 'vitest';
import { ErrorLayer } from '../../../src/device/layer/error.js';
import { StatsLayer } from '../../../src/device/layer/stats.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

test('counts requests, failures and the bytes of what was carried out, by operation', async () => {
  const below = new ErrorLayer(memoryDevice(1n << 20n), { byOperation: { trim: { rate: 1 } } });
  await using device = new StatsLayer(below);
  await device.read(new Uint8Array(100), 0n);
  await device.read(new Uint8Array(23), 0n);
  await device.trim(0n, 1000n).catch(() => {});
  const { stats } = device;
  expect([...stats.keys()]).toEqual(['read', 'trim']);
  expect(stats.get('read')).toMatchObject({ requests: 2, failures: 0, bytes: 123n });
  expect(stats.get('trim')).toMatchObject({ requests: 1, failures: 1, bytes: 0n });
  const { time = 0, slowest = 1 } = stats.get('read') ?? {};
  expect(time).toBeGreaterThanOrEqual(slowest);
});
