import { expect, test } from 'vitest';
import { RangeSet } from '../../../src/binary/range-set.js';
import { done } from '../../../src/device/block-device.js';
import { DelayLayer } from '../../../src/device/layer/delay.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

const aDay = 86_400_000;

test('an operation with a delay waits, and holds up no other', async () => {
  await using device = new DelayLayer(memoryDevice(1000n), { write: 50 });
  const ends: string[] = [];
  const writing = device.write(Uint8Array.of(1), 0n).then(() => ends.push('write'));
  await device.read(new Uint8Array(1), 0n).then(() => ends.push('read'));
  await writing;
  expect(ends).toEqual(['read', 'write']);
});

test('an operation without a delay is as immediate as below', async () => {
  await using device = new DelayLayer(memoryDevice(1000n), { write: aDay });
  expect(device.read(new Uint8Array(1), 0n)).toBe(done);
});

test('only requests that touch the range wait, and no flush', async () => {
  const range = RangeSet.of([
    { offset: 100n, length: 10n },
    { offset: 500n, length: 1n },
  ]);
  await using device = new DelayLayer(memoryDevice(1000n), { read: aDay, flush: aDay }, range);
  for (const [offset, length] of [
    [0, 100],
    [110, 390],
    [501, 10],
  ] as const) {
    expect(device.read(new Uint8Array(length), BigInt(offset))).toBe(done);
  }
  await device.flush();
  const stop = new AbortController();
  const waiting = [0n, 109n, 500n].map((offset) => device.read(new Uint8Array(101), offset, { signal: stop.signal }));
  stop.abort();
  for (const { status } of await Promise.allSettled(waiting)) expect(status).toBe('rejected');
});

test('a wait ends when the request is cancelled, and nothing is done', async () => {
  await using device = new DelayLayer(memoryDevice(1000n), { write: aDay });
  const stop = new AbortController();
  const writing = device.write(Uint8Array.of(1), 0n, { signal: stop.signal });
  stop.abort();
  await expect(writing).rejects.toMatchObject({ code: 'CANCELLED' });
  const bytes = Uint8Array.of(9);
  await device.read(bytes, 0n);
  expect(bytes[0]).toBe(0);
});

test('a wait ends when the device is closed', async () => {
  const device = new DelayLayer(memoryDevice(1000n), { read: aDay });
  const reading = device.read(new Uint8Array(1), 0n);
  const outcome = expect(reading).rejects.toMatchObject({ code: 'IO', errno: 'EBADF' });
  await device.close();
  await outcome;
});
