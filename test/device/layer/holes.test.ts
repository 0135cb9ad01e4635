import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Range, RangeSet } from '../../../src/binary/range-set.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { DelayLayer } from '../../../src/device/layer/delay.js';
import { HolesLayer, withoutBytes } from '../../../src/device/layer/holes.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { openImage } from '../../../src/image/open-image.js';
import { temporaryFolder } from '../../support/temporary.js';

const size = 64 << 10;

async function filled(ranges: readonly Range[]): Promise<{ device: BlockDevice; expected: Buffer }> {
  const below = memoryDevice(BigInt(size));
  const bytes = Buffer.alloc(size, 0xa5);
  await below.write(bytes, 0n);
  for (const { offset, length } of ranges) bytes.fill(0, Number(offset), Number(offset + length));
  return { device: new HolesLayer(below, RangeSet.of(ranges)), expected: bytes };
}

test('a hole reads as zeros to its last byte, and what is not one reads as before', async () => {
  const range = fc.tuple(fc.nat(size - 1), fc.integer({ min: 1, max: 9000 }));
  await fc.assert(
    fc.asyncProperty(fc.array(range, { maxLength: 8 }), range, async (holes, [at, length]) => {
      const { device, expected } = await filled(
        holes.map(([offset, long]) => ({ offset: BigInt(offset), length: BigInt(Math.min(long, size - offset)) })),
      );
      await using _ = device;
      const into = Buffer.alloc(Math.min(length, size - at), 0xff);
      await device.read(into, BigInt(at));
      expect(into.equals(expected.subarray(at, at + into.length))).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test('whole blocks of holes are told of, and no part of one', async () => {
  const { device } = await filled([
    { offset: 100n, length: 4096n },
    { offset: 8000n, length: 9000n },
    { offset: 32_768n, length: 4096n },
  ]);
  await using _ = device;
  const told: string[] = [];
  for await (const { offset, length, allocated, zero } of device.extents()) {
    expect(zero).toBe(!allocated);
    told.push(`${offset}+${length} ${zero ? 'zero' : 'data'}`);
  }
  expect(told).toEqual(['0+8192 data', '8192+8192 zero', '16384+16384 data', '32768+4096 zero', '36864+28672 data']);
});

test('a host file is gone straight to for ranges without a hole, through other layers too', async () => {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, randomBytes(size));
  const below = await openImage(path, { access: 'read', format: 'raw' });
  const { hostFile } = below.facts;
  const holes = RangeSet.of([
    { offset: 4096n, length: 512n },
    { offset: 16_384n, length: 4096n },
  ]);
  await using device = new DelayLayer(new HolesLayer(below, holes), {});
  const { guardedFile } = device.facts;
  expect(guardedFile?.file).toEqual(hostFile);
  const holds = (offset: bigint, length: bigint) => guardedFile?.holds?.(offset, length);
  expect(holds(0n, 4096n)).toBe(true);
  expect(holds(0n, 4097n)).toBe(false);
  expect(holds(4096n, 512n)).toBe(false);
  expect(holds(4607n, 1n)).toBe(false);
  expect(holds(4608n, 11_776n)).toBe(true);
  expect(holds(4608n, 30_000n)).toBe(false);
  expect(holds(20_480n, BigInt(size) - 20_480n)).toBe(true);
});

test('a device of which nothing is a hole stays as it is', async () => {
  await using below = memoryDevice(4096n);
  expect(withoutBytes(below, RangeSet.empty)).toBe(below);
});
