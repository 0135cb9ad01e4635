import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Placement, type Segment } from '../../../src/binary/placement.js';
import { RangeSet } from '../../../src/binary/range-set.js';
import { Joined } from '../../../src/device/layer/joined.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

/** Bytes of the room that each area has on the disk, shuffled: no two overlap. */
const room = 64;

interface Map {
  readonly segments: readonly Segment[];
  /** For each byte of the volume, where it is on the disk. */
  readonly model: readonly number[];
  readonly size: number;
}

/** Segments of one to four areas, stripes of one to nine bytes, all areas in rooms of their own. */
const maps: fc.Arbitrary<Map> = fc
  .array(
    fc.record({
      areas: fc.integer({ min: 1, max: 4 }),
      stripe: fc.integer({ min: 1, max: 9 }),
      rounds: fc.integer({ min: 1, max: 6 }),
    }),
    {
      minLength: 1,
      maxLength: 5,
    },
  )
  .chain((shapes) => {
    const count = shapes.reduce((sum, { areas }) => sum + areas, 0);
    return fc
      .shuffledSubarray(
        Array.from({ length: count }, (_, i) => i),
        { minLength: count },
      )
      .map((rooms) => {
        const segments: Segment[] = [];
        const model: number[] = [];
        const free = [...rooms];
        for (const { areas: width, stripe, rounds } of shapes) {
          const areas = free.splice(0, width).map((index) => index * room + (index % 3));
          for (let round = 0; round < rounds; round++) {
            for (const area of areas) for (let i = 0; i < stripe; i++) model.push(area + round * stripe + i);
          }
          const length = BigInt(width * stripe * rounds);
          segments.push({ length, stripeSize: BigInt(stripe), areas: areas.map(BigInt) });
        }
        return { segments, model, size: count * room };
      });
  });

/** Ranges of the volume, by two fractions of its size. */
const ranges = fc.array(fc.tuple(fc.nat(999), fc.nat(999)), { minLength: 1, maxLength: 6 });
const inside = (size: number, [a, b]: readonly [number, number]) => {
  const [from = 0, to = 0] = [Math.floor((a * size) / 1000), Math.floor((b * size) / 1000)].sort((x, y) => x - y);
  return { offset: BigInt(from), length: BigInt(to + 1 - from) };
};
const bytesOf = (set: Iterable<{ offset: bigint; length: bigint }>) =>
  [...set].flatMap(({ offset, length }) => Array.from({ length: Number(length) }, (_, i) => Number(offset) + i));

test('a placement leads each byte to where its stripe has it, by every way of asking', () => {
  fc.assert(
    fc.property(maps, ranges, ({ segments, model }, asked) => {
      const placement = new Placement(segments);
      expect(placement.size).toBe(BigInt(model.length));
      const set = RangeSet.of(asked.map((pair) => inside(model.length, pair)));
      const expected = bytesOf(set).map((at) => model[at] ?? -1);
      expect(bytesOf(placement.toDisk(set))).toEqual(expected.toSorted((x, y) => x - y));
      expect([...set].flatMap(({ offset, length }) => bytesOf(placement.locate(offset, length)))).toEqual(expected);
      for (const { offset, length } of set) {
        for (const run of placement.areasAt(offset, length)) {
          for (const at of bytesOf([run])) expect(model[Number(run.inVolume(BigInt(at)))]).toBe(at);
        }
      }
      const inRow = model.every((at, i) => at === (model[0] ?? 0) + i);
      expect(placement.offset).toBe(inRow ? BigInt(model[0] ?? 0) : undefined);
    }),
    { numRuns: 300, seed: 1 },
  );
});

test('what is written, zeroed and read through a joined device is where the placement says', async () => {
  await fc.assert(
    fc.asyncProperty(maps, ranges, async ({ segments, model, size }, asked) => {
      await using below = memoryDevice(BigInt(size));
      const disk = Uint8Array.from({ length: size }, (_, i) => 1 + (i % 250));
      await below.write(disk, 0n);
      await using joined = new Joined(below, new Placement(segments), 'a volume');
      for (const [i, pair] of asked.entries()) {
        const { offset, length } = inside(model.length, pair);
        const fill = new Uint8Array(Number(length)).fill(i % 2 === 0 ? 0xfe : 0);
        if (i % 2 === 0) await joined.write(fill, offset);
        else await joined.zero(offset, length);
        for (let at = 0; at < fill.length; at++) disk[model[Number(offset) + at] ?? 0] = fill[at] ?? 0;
      }
      const found = new Uint8Array(size);
      await below.read(found, 0n);
      expect(found).toEqual(disk);
      const whole = new Uint8Array(model.length);
      await joined.read(whole, 0n);
      expect([...whole]).toEqual(model.map((at) => disk[at]));
    }),
    { numRuns: 100, seed: 1 },
  );
});

test('extents of stripes say of each byte what the disk below says of it', async () => {
  const block = 4096;
  await using below = memoryDevice(64n * BigInt(block));
  for (const at of [0, 1, 2, 9, 20, 21, 33, 40]) await below.write(new Uint8Array(block).fill(1), BigInt(at * block));
  const stripeSize = BigInt(block);
  const areas = [0n, 32n, 16n].map((at) => at * stripeSize);
  await using joined = new Joined(below, new Placement([{ length: 48n * stripeSize, stripeSize, areas }]), 'a volume');
  const theirs: boolean[] = [];
  for await (const { length, zero } of below.extents()) theirs.push(...new Array(Number(length) / block).fill(zero));
  const ours: boolean[] = [];
  for await (const { length, zero } of joined.extents()) ours.push(...new Array(Number(length) / block).fill(zero));
  expect(ours).toEqual(Array.from({ length: 48 }, (_, i) => theirs[Number(areas[i % 3]) / block + Math.floor(i / 3)]));
  expect(ours.includes(true) && ours.includes(false)).toBe(true);
});

test('holes in all stripes are one extent, however many stripes there are', async () => {
  await using below = memoryDevice(2n ** 60n);
  const placement = new Placement([{ length: 2n ** 59n, stripeSize: 512n, areas: [0n, 2n ** 59n] }]);
  await using joined = new Joined(below, placement, 'a volume');
  const extents = [];
  for await (const extent of joined.extents()) extents.push(extent);
  expect(extents).toEqual([{ offset: 0n, length: 2n ** 59n, allocated: false, zero: true }]);
});
