import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CowLayer } from '../../../src/device/layer/cow.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

const size = 70_000;

async function original() {
  const bytes = randomBytes(size).fill(0, 20_000, 40_000);
  const below = memoryDevice(BigInt(size));
  await below.write(bytes.subarray(0, 20_000), 0n);
  await below.write(bytes.subarray(40_000), 40_000n);
  return { below, bytes };
}

test('reads equal a disk that was written to, the disk below stays as it was, whatever is asked at the same time', async () => {
  const request = fc.record({
    kind: fc.constantFrom('write', 'zero'),
    offset: fc.nat(size - 1),
    length: fc.oneof(fc.nat(500), fc.nat(9000)),
    byte: fc.integer({ min: 1, max: 255 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(request, { maxLength: 6 }), { maxLength: 6 }), async (rounds) => {
      const { below, bytes } = await original();
      await using device = new CowLayer(below, memoryDevice(BigInt(size)));
      const model = Uint8Array.from(bytes);
      for (const together of rounds) {
        // Changes that overlap may come in any order: those of one round leave each other's bytes alone, not their blocks.
        const taken = new Uint8Array(size);
        const changes: Promise<void>[] = [];
        for (const { kind, offset, length, byte } of together) {
          const end = Math.min(size, offset + length);
          if (taken.subarray(offset, end).some((mark) => mark === 1)) continue;
          taken.fill(1, offset, end);
          model.fill(kind === 'zero' ? 0 : byte, offset, end);
          changes.push(
            kind === 'zero'
              ? device.zero(BigInt(offset), BigInt(end - offset))
              : device.write(new Uint8Array(end - offset).fill(byte), BigInt(offset)),
          );
        }
        await Promise.all(changes);
      }
      const found = new Uint8Array(size);
      await device.read(found, 0n);
      expect(Buffer.compare(found, model)).toBe(0);
      await below.read(found, 0n);
      expect(Buffer.compare(found, bytes)).toBe(0);
    }),
    { numRuns: 60 },
  );
});

test('what an overlay held before is never seen', async () => {
  const { below, bytes } = await original();
  const overlay = memoryDevice(BigInt(size));
  await overlay.write(new Uint8Array(size).fill(0xee), 0n);
  await using device = new CowLayer(below, overlay);
  await device.write(Uint8Array.of(1), 5000n);
  await device.zero(30_000n, 1n);
  const found = new Uint8Array(size);
  await device.read(found, 0n);
  bytes[5000] = 1;
  expect(Buffer.compare(found, bytes)).toBe(0);
});

test('the size of 2^63 - 1 bytes is zeroed at once, and written at its ends', async () => {
  const largest = 2n ** 63n - 1n;
  await using device = new CowLayer(memoryDevice(largest), memoryDevice(largest));
  await device.write(Uint8Array.of(7), largest - 1n);
  await device.zero(0n, largest - 1n, { mayTrim: true });
  const bytes = new Uint8Array(2);
  await device.read(bytes, largest - 2n);
  expect([...bytes]).toEqual([0, 7]);
});

test('an overlay that is smaller than the disk is refused', async () => {
  await using below = memoryDevice(1000n);
  await using overlay = memoryDevice(999n);
  expect(() => new CowLayer(below, overlay)).toThrow('as large');
});
