import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RangeSet } from '../../../src/binary/range-set.js';
import { ErrorLayer } from '../../../src/device/layer/error.js';
import { RoundLayer } from '../../../src/device/layer/round.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { WholeBlocks } from '../../../src/task/output/whole-blocks.js';

/** Memory that takes whole blocks of 512 bytes alone, but at its end. */
class Blocks extends RoundLayer {
  constructor(size: bigint) {
    super(memoryDevice(size), { to: 1n, direction: 'down' });
    const { facts } = this;
    Object.assign(this, { facts: { ...facts, blockSize: { ...facts.blockSize, minimum: 512 } } });
  }
}

test('writes side by side at any place, all at the same time, leave what an array has', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5000 }),
      fc.array(fc.tuple(fc.nat(700), fc.integer({ min: 1, max: 1500 })), { maxLength: 12 }),
      async (size, writes) => {
        await using device = new Blocks(BigInt(size));
        const model = Buffer.alloc(size, 7);
        await device.write(model, 0n);
        const output = new WholeBlocks(device);
        const under: Promise<void>[] = [];
        let at = 0;
        for (const [gap, length] of writes) {
          const start = at + gap;
          const end = Math.min(size, start + length);
          if (start >= end) break;
          const bytes = Buffer.alloc(end - start, (under.length % 100) + 100);
          bytes.copy(model, start);
          under.push(output.write(bytes, BigInt(start)));
          at = end;
        }
        await Promise.all(under);
        const read = Buffer.alloc(size);
        await device.read(read, 0n);
        expect(read.equals(model)).toBe(true);
      },
    ),
  );
});

test('what fails is told of, and holds up nothing else', async () => {
  const range = { offset: 1024n, length: 512n };
  await using device = new ErrorLayer(new Blocks(2048n), {
    byOperation: { write: { rate: 1 } },
    range: RangeSet.of([range]),
  });
  const output = new WholeBlocks(device);
  const failing = output.write(new Uint8Array(10), 1500n);
  const following = output.write(new Uint8Array([1, 2, 3]), 100n);
  await expect(failing).rejects.toMatchObject({ errno: 'EIO' });
  await following;
  const read = new Uint8Array(512);
  await device.read(read, 0n);
  expect([...read.subarray(99, 104)]).toEqual([0, 1, 2, 3, 0]);
});
