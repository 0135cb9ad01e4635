import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BlockDevice } from '../../../src/device/block-device.js';
import type { Extent } from '../../../src/device/extent.js';
import { CowLayer } from '../../../src/device/layer/cow.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

const size = 70_000;
/** Of the disk below, in whole blocks of the host's. */
const hole = { start: 20_480, end: 36_864 };

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

/** What each byte must read as, and the freedom that a trim leaves. */
class Model {
  readonly values: Uint8Array;
  /** 1: it was trimmed, and may read as zero too. */
  readonly #free = new Uint8Array(size);
  /** 1: nothing has changed in its block. */
  readonly #untouched = new Uint8Array(size).fill(1);

  constructor(bytes: Uint8Array) {
    this.values = Uint8Array.from(bytes);
  }

  fill(byte: number, offset: number, end: number): void {
    this.values.fill(byte, offset, end);
    this.#free.fill(0, offset, end);
    this.#touch(offset, end);
  }

  trim(offset: number, end: number): void {
    this.#free.fill(1, offset, end);
    this.#touch(offset, end);
  }

  /** Where it does not read as it must, or -1. */
  wrongAt(found: Uint8Array, offset: number): number {
    return found.findIndex((byte, i) => {
      const at = offset + i;
      return byte !== this.values[at] && !(byte === 0 && this.#free[at] === 1);
    });
  }

  /** Whether it lies in the hole of the disk below, and nobody has brought its block up. */
  isHole(at: number): boolean {
    return at >= hole.start && at < hole.end && this.#untouched[at] === 1;
  }

  #touch(offset: number, end: number): void {
    this.#untouched.fill(0, Math.floor(offset / 4096) * 4096, Math.ceil(end / 4096) * 4096);
  }
}

test('writes, zeroes, trims, reads and extents are those of an array of bytes, and the disk below stays as it was', async () => {
  // Blocks have 4096 bytes: as often at their edges as anywhere.
  const position = fc.oneof(
    fc.nat(size),
    fc.nat(17).map((block) => block * 4096),
  );
  const step = fc.record({
    kind: fc.constantFrom('write', 'zero', 'trim', 'read', 'extents'),
    from: position,
    to: position,
    byte: fc.integer({ min: 1, max: 200 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { below, bytes } = await original();
      const overlay = memoryDevice(BigInt(size));
      // What nobody has written must never come to light.
      await overlay.write(new Uint8Array(size).fill(0xee), 0n);
      await using device = new CowLayer(below, overlay);
      const model = new Model(bytes);
      const before = await allExtents(below);
      const check = async (kind: 'read' | 'extents', offset: number, end: number) => {
        if (kind === 'extents') return await checkExtents(device, model, offset, end);
        const found = new Uint8Array(end - offset);
        await device.read(found, BigInt(offset));
        expect(model.wrongAt(found, offset)).toBe(-1);
      };
      for (const { kind, from, to, byte } of steps) {
        const [offset, end] = [Math.min(from, to), Math.max(from, to)];
        const range = [BigInt(offset), BigInt(end - offset)] as const;
        if (kind === 'write') {
          await device.write(new Uint8Array(end - offset).fill(byte), range[0]);
          if (offset < end) model.fill(byte, offset, end);
        } else if (kind === 'zero') {
          await device.zero(...range, { mayTrim: byte > 100 });
          if (offset < end) model.fill(0, offset, end);
        } else if (kind === 'trim') {
          await device.trim(...range);
          if (offset < end) model.trim(offset, end);
        } else await check(kind, offset, end);
      }
      await check('read', 0, size);
      await check('extents', 0, size);
      const found = new Uint8Array(size);
      await below.read(found, 0n);
      expect(Buffer.compare(found, bytes)).toBe(0);
      expect(await allExtents(below)).toEqual(before);
    }),
    { numRuns: 200 },
  );
});

async function allExtents(device: BlockDevice, offset = 0n, length = BigInt(size)): Promise<Extent[]> {
  const found: Extent[] = [];
  for await (const extent of device.extents(offset, length)) found.push(extent);
  return found;
}

/** They tile the range, call zero only what reads as zero, and know the hole of the disk below. */
async function checkExtents(device: BlockDevice, model: Model, offset: number, end: number): Promise<void> {
  const found = new Uint8Array(end - offset);
  await device.read(found, BigInt(offset));
  let at = offset;
  for (const extent of await allExtents(device, BigInt(offset), BigInt(end - offset))) {
    expect(Number(extent.offset)).toBe(at);
    for (const stop = at + Number(extent.length); at < stop; at++) {
      const wrong = extent.zero ? found[at - offset] !== 0 : model.isHole(at);
      if (wrong) throw new Error(`byte ${at} is in an extent with zero: ${extent.zero}`);
    }
  }
  expect(at).toBe(end);
}

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
