import { describe, expect, test } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import { DeviceReader } from '../../src/filesystem/device-reader.js';

describe('DeviceReader', () => {
  test('reads what lies on both sides of its chunks', async () => {
    await using device = memoryDevice(300_001n);
    const model = Buffer.from(Array.from({ length: 300_001 }, (_, i) => (i * 7 + (i >> 9)) % 251));
    await device.write(model, 0n);
    const reader = new DeviceReader(device);
    for (const [offset, length] of [
      [0, 1],
      [65_535, 2],
      [65_500, 140_000],
      [299_990, 11],
      [10, 0],
    ] as const) {
      expect(await reader.bytes(BigInt(offset), length)).toEqual(
        Uint8Array.from(model.subarray(offset, offset + length)),
      );
    }
  });

  test('says that there is nothing past either end', async () => {
    await using device = memoryDevice(1000n);
    const reader = new DeviceReader(device);
    for (const [offset, length] of [
      [-1n, 1],
      [999n, 2],
      [1000n, 1],
      [2n ** 70n, 1],
    ] as const) {
      expect(await reader.bytes(offset, length)).toBeUndefined();
    }
  });

  test('stops when it is told to', async () => {
    await using device = memoryDevice(1000n);
    const reader = new DeviceReader(device, AbortSignal.abort());
    await expect(reader.bytes(0n, 1)).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
