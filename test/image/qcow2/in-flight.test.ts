import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { done } from '../../../src/device/block-device.js';
import { InFlight } from '../../../src/image/qcow2/in-flight.js';

test('has as many parts under way as it may, and ends when all of them have', async () => {
  const parts = new InFlight(3);
  let running = 0;
  let most = 0;
  for (let i = 0; i < 20; i++) {
    await parts.room();
    running++;
    most = Math.max(most, running);
    parts.add(sleep(i % 4).then(() => void running--));
    parts.add(done);
  }
  await parts.end();
  expect([running, most]).toEqual([0, 3]);
});

test('throws the first failure once all parts have come to rest', async () => {
  const parts = new InFlight(3);
  let rested = false;
  parts.add(
    sleep(20).then(() => {
      rested = true;
    }),
  );
  parts.add(Promise.reject(new Error('first')));
  parts.add(sleep(1).then(() => Promise.reject(new Error('second'))));
  await parts.room();
  expect(parts.failed).toBe(true);
  await expect(parts.end()).rejects.toThrow('first');
  expect(rested).toBe(true);
});
