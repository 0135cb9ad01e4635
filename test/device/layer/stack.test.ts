import { expect, test } from 'vitest';
import { withLayers } from '../../../src/device/layer/stack.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

test('without layers the device stays itself, host file and all', async () => {
  await using below = memoryDevice(1000n);
  const { device, stats } = withLayers(below, {});
  expect(device).toBe(below);
  expect(stats).toBeUndefined();
});

test('layers stand in their order, from the disk outwards', async () => {
  const lines: string[] = [];
  const { device, stats } = withLayers(memoryDevice(1000n), {
    overlay: memoryDevice(1000n),
    rounding: { to: 512n, direction: 'down' },
    errors: { rate: 1, errno: 'ENOSPC' },
    delays: { read: 1 },
    rate: 1e9,
    stats: true,
    log: (line) => lines.push(line),
  });
  await using _ = device;
  expect(device.name).toBe(
    'log over stats over rate limit over delays over errors over overlay over memory[1000] rounded down to 512',
  );
  await expect(device.read(new Uint8Array(1), 0n)).rejects.toMatchObject({ errno: 'ENOSPC' });
  expect(stats?.stats.get('read')).toMatchObject({ requests: 1, failures: 1 });
  expect(lines[1]).toMatch(/^1 end microseconds=\d+ result=ENOSPC$/);
});

test('closing the outermost closes the disk and the overlay', async () => {
  const [below, overlay] = [memoryDevice(1000n), memoryDevice(1000n)];
  const { device } = withLayers(below, { overlay, errors: { rate: 0 } });
  await device.close();
  for (const closed of [below, overlay]) {
    await expect(closed.read(new Uint8Array(1), 0n)).rejects.toMatchObject({ errno: 'EBADF' });
  }
});
