import { expect, test } from 'vitest';
import { RangeSet } from '../../../../src/binary/range-set.js';
import type { BlockDevice } from '../../../../src/device/block-device.js';
import { memoryDevice } from '../../../../src/device/memory-device.js';
import { type Batch, batchesOf } from '../../../../src/task/sparsify/undo/batches.js';

const MiB = 1n << 20n;

async function collect(device: BlockDevice, given: RangeSet, batchSize: bigint): Promise<Batch[]> {
  const found: Batch[] = [];
  for await (const batch of batchesOf(device, given, batchSize, undefined)) found.push(batch);
  return found;
}

async function filled(size: bigint, ranges: RangeSet): Promise<BlockDevice> {
  const device = memoryDevice(size);
  for (const { offset, length } of ranges) await device.write(Buffer.alloc(Number(length), 1), offset);
  return device;
}

test('batches tile the disk, and hold each byte that is given back and may be more than zeros', async () => {
  const given = RangeSet.of([
    { offset: 4096n, length: 3n * MiB },
    { offset: 5n * MiB + 4096n, length: 8192n },
    { offset: 9n * MiB, length: MiB + 4096n },
  ]);
  await using device = await filled(12n * MiB, given);
  const batches = await collect(device, given, 2n * MiB);
  expect(batches.length).toBeGreaterThan(1);
  let end = 0n;
  for (const batch of batches) {
    expect(batch.start).toBe(end);
    for (const { offset, length } of batch.pieces) {
      expect(offset >= batch.start && offset + length <= batch.end).toBe(true);
    }
    end = batch.end;
  }
  expect(end).toBe(12n * MiB);
  expect([...RangeSet.of(batches.flatMap(({ pieces }) => pieces))]).toEqual([...given]);
});

test('no MiB is cut in two, since a part of a cluster gives nothing back', async () => {
  const given = RangeSet.of(Array.from({ length: 400 }, (_, i) => ({ offset: BigInt(i) * 24576n, length: 8192n })));
  await using device = await filled(10n * MiB, given);
  const batches = await collect(device, given, 16384n);
  expect(batches.length).toBeGreaterThan(5);
  for (const { start, end } of batches) expect([start % MiB, end % MiB]).toEqual([0n, 0n]);
});

test('a disk of which all that is given back is holes is one batch without a piece', async () => {
  await using device = memoryDevice(2n ** 50n);
  const given = RangeSet.of([{ offset: 4096n, length: 2n ** 49n }]);
  expect(await collect(device, given, MiB)).toEqual([{ start: 0n, end: 2n ** 50n, pieces: [] }]);
});
