import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../src/device/block-device.js';
import type { Extent } from '../../src/device/extent.js';
import { Layer } from '../../src/device/layer/layer.js';

/** The sizes at which arithmetic on offsets goes wrong. */
export const awkwardSizes: readonly bigint[] = [0n, 1n, 511n, 2n ** 53n - 1n, 2n ** 53n + 1n, 2n ** 63n - 1n];

export interface Subject {
  /** The class and how it stands: `Slice over memory`. */
  name: string;
  /** A writable device of this size, all zeros. The suite closes it. */
  open(size: bigint): Promise<BlockDevice>;
  /** What it can be opened at. */
  sizes?: readonly bigint[];
  /** The size for the tests that need room: at least 64 KiB. */
  room?: bigint;
  /** The same, for reading only: where that can be. */
  openReadOnly?(size: bigint): Promise<BlockDevice>;
  /** `test`, or what `needs()` gives. */
  it?: (title: string, body: () => Promise<void>, timeout?: number) => void;
}

const page = 4096;

async function read(device: BlockDevice, offset: bigint, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length).fill(0xee);
  await device.read(bytes, offset);
  return bytes;
}

async function tiles(device: BlockDevice, offset?: bigint, length?: bigint): Promise<Extent[]> {
  const extents: Extent[] = [];
  for await (const extent of device.extents(offset, length)) extents.push(extent);
  return extents;
}

function expectTiling(extents: readonly Extent[], start: bigint, end: bigint): void {
  let at = start;
  let last: Extent | undefined;
  for (const extent of extents) {
    expect(extent.offset).toBe(at);
    expect(extent.length > 0n).toBe(true);
    if (last !== undefined) expect([extent.allocated, extent.zero]).not.toEqual([last.allocated, last.zero]);
    at += extent.length;
    last = extent;
  }
  expect(at).toBe(end);
}

/** What every BlockDevice promises, whatever it stands on. */
export function describeBlockDevice({ name, open, sizes = awkwardSizes, room = 1n << 20n, ...rest }: Subject): void {
  const it = rest.it ?? test;
  describe(`${name} as a BlockDevice`, () => {
    for (const size of sizes) {
      it(`refuses what passes either end of ${size} bytes`, async () => {
        await using device = await open(size);
        expect(device.facts.size).toBe(size);
        const bytes = new Uint8Array(2);
        for (const offset of [-1n, -2n, size - 1n, size, size + 1n, 2n ** 63n - 1n, 2n ** 64n]) {
          if (offset >= 0n && offset + 2n <= size) continue;
          const refused = { code: 'USAGE' };
          await expect(device.read(bytes, offset)).rejects.toMatchObject(refused);
          await expect(device.write(bytes, offset)).rejects.toMatchObject({ ...refused, errno: 'ENOSPC' });
          await expect(device.zero(offset, 2n)).rejects.toMatchObject(refused);
          await expect(device.trim(offset, 2n)).rejects.toMatchObject(refused);
          await expect(tiles(device, offset, 2n)).rejects.toMatchObject(refused);
          expect(device.peek(offset, 2)).toBeUndefined();
        }
        await expect(device.zero(0n, -1n)).rejects.toMatchObject({ code: 'USAGE' });
        await expect(device.trim(0n, -1n)).rejects.toMatchObject({ code: 'USAGE' });
        await expect(tiles(device, 0n, -1n)).rejects.toMatchObject({ code: 'USAGE' });
        await expect(tiles(device, size + 1n)).rejects.toMatchObject({ code: 'USAGE' });
      });

      it(`takes a length of zero anywhere in ${size} bytes, the end among them`, async () => {
        await using device = await open(size);
        for (const offset of [0n, size]) {
          await device.read(new Uint8Array(0), offset);
          await device.write(new Uint8Array(0), offset);
          await device.write(new Uint8Array(0), offset, { fua: true });
          await device.zero(offset, 0n);
          await device.trim(offset, 0n);
          expect(await tiles(device, offset, 0n)).toEqual([]);
        }
      });

      it(`tiles ${size} bytes with extents exactly`, async () => {
        await using device = await open(size);
        expectTiling(await tiles(device), 0n, size);
        if (size < 2n) return;
        await device.write(Uint8Array.of(7), size - 1n);
        await device.write(Uint8Array.of(7), size / 2n);
        const extents = await tiles(device);
        expectTiling(extents, 0n, size);
        for (const at of [size - 1n, size / 2n]) {
          const holder = extents.find(({ offset, length }) => offset <= at && at < offset + length);
          expect(holder?.zero).toBe(false);
        }
        expectTiling(await tiles(device, 1n), 1n, size);
        expectTiling(await tiles(device, 1n, size - 2n), 1n, size - 1n);
        expectTiling(await tiles(device, size - 1n), size - 1n, size);
      });

      if (size === 0n) continue;
      it(`reads back the first and the last byte of ${size}`, async () => {
        await using device = await open(size);
        expect(await read(device, size - 1n, 1)).toEqual(Uint8Array.of(0));
        await device.write(Uint8Array.of(1), 0n);
        await device.write(Uint8Array.of(2), size - 1n);
        expect(await read(device, size - 1n, 1)).toEqual(Uint8Array.of(2));
        expect(await read(device, 0n, 1)).toEqual(Uint8Array.of(size === 1n ? 2 : 1));
        await device.zero(size - 1n, 1n);
        expect(await read(device, size - 1n, 1)).toEqual(Uint8Array.of(0));
        if (size > 1n) expect(await read(device, 0n, 1)).toEqual(Uint8Array.of(1));
      });
    }

    it('refuses every change when it only reads', async () => {
      if (rest.openReadOnly === undefined) return;
      await using device = await rest.openReadOnly(room);
      expect(device.facts.writable).toBe(false);
      await expect(device.write(new Uint8Array(1), 0n)).rejects.toMatchObject({ code: 'READ_ONLY', errno: 'EPERM' });
      await expect(device.zero(0n, 1n)).rejects.toMatchObject({ code: 'READ_ONLY' });
      await expect(device.trim(0n, 1n)).rejects.toMatchObject({ code: 'READ_ONLY' });
      await device.read(new Uint8Array(1), 0n);
    });

    it('splits what is longer than its largest request', async () => {
      await using device = await open(room);
      const { minimum, maximum } = device.facts.blockSize;
      expect(maximum % minimum).toBe(0);
      const length = Math.min(Number(room), maximum + page);
      const bytes = new Uint8Array(length);
      for (let i = 0; i < length; i += 997) bytes[i] = 1 + (i % 251);
      await device.write(bytes, 0n, { fua: true });
      expect(Buffer.compare(await read(device, 0n, length), bytes)).toBe(0);
    });

    it('zeroes a range, neither less nor more, with each of the options', async () => {
      await using device = await open(room);
      const length = 8 * page;
      for (const options of [{}, { mayTrim: true }, { fua: true }, { mayTrim: true, fua: true }]) {
        for (const [start, end] of [
          [0, length],
          [1, 2],
          [511, 513],
          [page, 2 * page],
          [page - 1, 5 * page + 1],
        ] as const) {
          await device.write(new Uint8Array(length).fill(0xaa), 0n);
          await device.zero(BigInt(start), BigInt(end - start), options);
          const wanted = new Uint8Array(length).fill(0xaa).fill(0, start, end);
          expect(Buffer.compare(await read(device, 0n, length), wanted)).toBe(0);
        }
      }
    });

    it('zeroes fast, or refuses and changes nothing', async () => {
      await using device = await open(room);
      await device.write(new Uint8Array(3 * page).fill(0xaa), 0n);
      const outcome = await device.zero(BigInt(page), BigInt(page), { fast: true }).then(
        () => 'done',
        (error: unknown) => error,
      );
      if (outcome !== 'done') expect(outcome).toMatchObject({ code: 'UNSUPPORTED' });
      const wanted = new Uint8Array(3 * page).fill(0xaa);
      if (outcome === 'done') wanted.fill(0, page, 2 * page);
      expect(Buffer.compare(await read(device, 0n, 3 * page), wanted)).toBe(0);
    });

    it('trims without touching what lies beside the range', async () => {
      await using device = await open(room);
      if (!device.facts.trim) {
        await expect(device.trim(0n, 1n)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        return;
      }
      for (const [start, end] of [
        [1, 2],
        [511, 4097],
        [page - 1, 5 * page + 1],
      ] as const) {
        const length = 8 * page;
        await device.write(new Uint8Array(length).fill(0xaa), 0n);
        await device.trim(BigInt(start), BigInt(end - start), { fua: true });
        const after = await read(device, 0n, length);
        expect(after.subarray(0, start).every((byte) => byte === 0xaa)).toBe(true);
        expect(after.subarray(end).every((byte) => byte === 0xaa)).toBe(true);
      }
    });

    it('hands on the bytes of a host file only where they are the same bytes', async () => {
      await using device = await open(room);
      if (device instanceof Layer) {
        expect(device.facts.hostFile).toBeUndefined();
        expect(device.peek(0n, 1)).toBeUndefined();
      }
      await device.write(Uint8Array.of(42), 17n);
      const peeked = device.peek(17n, 1);
      if (peeked !== undefined) expect(peeked[0]).toBe(42);
      const { hostFile } = device.facts;
      if (hostFile === undefined) return;
      const { readSync } = await import('node:fs');
      const bytes = new Uint8Array(1);
      readSync(hostFile.fd, bytes, 0, 1, hostFile.offset + 17n);
      expect(bytes[0]).toBe(42);
    });

    it('stops at a signal before anything is done', async () => {
      await using device = await open(room);
      const signal = AbortSignal.abort();
      const cancelled = { code: 'CANCELLED' };
      await expect(device.read(new Uint8Array(1), 0n, { signal })).rejects.toMatchObject(cancelled);
      await expect(device.write(Uint8Array.of(1), 0n, { signal })).rejects.toMatchObject(cancelled);
      await expect(device.zero(0n, 1n, { signal })).rejects.toMatchObject(cancelled);
      await expect(device.trim(0n, 1n, { signal })).rejects.toMatchObject(cancelled);
      await expect(device.extents(0n, 1n, { signal }).next()).rejects.toMatchObject(cancelled);
      expect(await read(device, 0n, 1)).toEqual(Uint8Array.of(0));
    });

    it('closes once, and refuses what comes after', async () => {
      const device = await open(room);
      const closing = device.close();
      expect(device.close()).toBe(closing);
      await closing;
      await device.close();
      const closed = { code: 'IO', errno: 'EBADF' };
      await expect(device.read(new Uint8Array(1), 0n)).rejects.toMatchObject(closed);
      await expect(device.write(new Uint8Array(1), 0n)).rejects.toMatchObject(closed);
      await expect(device.zero(0n, 1n)).rejects.toMatchObject(closed);
      await expect(device.trim(0n, 1n)).rejects.toMatchObject(closed);
      await expect(device.flush()).rejects.toMatchObject(closed);
      await expect(tiles(device)).rejects.toMatchObject(closed);
      await expect(tiles(device, 0n, 0n)).rejects.toMatchObject(closed);
      expect(device.peek(0n, 1)).toBeUndefined();
    });

    it('equals an array of bytes under any sequence of requests', async () => {
      const size = 64 * 1024;
      const offset = fc.oneof(
        fc.nat(size),
        fc.nat(size / 512).map((sector) => sector * 512),
      );
      const length = fc.oneof(fc.nat(600), fc.constantFrom(0, 512, 4096, 8192, 20_000));
      const request = fc.record({
        kind: fc.constantFrom('write', 'zero', 'punch', 'trim', 'flush', 'extents', 'read'),
        offset,
        length,
        byte: fc.integer({ min: 1, max: 255 }),
        fua: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(request, { maxLength: 25 }), async (requests) => {
          await using device = await open(room);
          const model = new Uint8Array(size);
          for (const { kind, offset: start, length: wanted, byte, fua } of requests) {
            const end = Math.min(size, start + wanted);
            const at = BigInt(start);
            const count = BigInt(end - start);
            if (kind === 'write') {
              await device.write(new Uint8Array(end - start).fill(byte), at, { fua });
              model.fill(byte, start, end);
            } else if (kind === 'zero' || kind === 'punch') {
              await device.zero(at, count, { fua, mayTrim: kind === 'punch' });
              model.fill(0, start, end);
            } else if (kind === 'trim') {
              if (!device.facts.trim) continue;
              await device.trim(at, count, { fua });
              // Anything may be there now, so it is taken over as it is; not a byte beside it may be.
              model.set(await read(device, at, end - start), start);
            } else if (kind === 'flush') {
              if (device.facts.flush) await device.flush();
            } else if (kind === 'extents') {
              const extents = await tiles(device, at, count);
              expectTiling(extents, at, at + count);
              for (const extent of extents.filter(({ zero }) => zero)) {
                const from = Number(extent.offset);
                expect(model.subarray(from, from + Number(extent.length)).every((value) => value === 0)).toBe(true);
              }
            } else expect(Buffer.compare(await read(device, at, end - start), model.subarray(start, end))).toBe(0);
          }
          expect(Buffer.compare(await read(device, 0n, size), model)).toBe(0);
        }),
        { numRuns: 30 },
      );
    }, 60_000);
  });
}

export interface ReadOnlySubject {
  name: string;
  /** A device that shows `bytes`. The suite closes it. */
  open(): Promise<{ device: BlockDevice; bytes: Uint8Array }>;
}

/** What every BlockDevice promises that only ever reads. */
export function describeReadOnlyDevice({ name, open }: ReadOnlySubject): void {
  describe(`${name} as a read-only BlockDevice`, () => {
    test('reads its bytes wherever it is asked, and refuses what passes an end', async () => {
      const { device, bytes } = await open();
      await using _ = device;
      const size = bytes.length;
      expect(device.facts.size).toBe(BigInt(size));
      await fc.assert(
        fc.asyncProperty(fc.nat(size), fc.nat(size), async (one, other) => {
          const [start, end] = [Math.min(one, other), Math.max(one, other)];
          const found = await read(device, BigInt(start), end - start);
          expect(Buffer.compare(found, bytes.subarray(start, end))).toBe(0);
        }),
        { numRuns: 100 },
      );
      for (const offset of [-1n, BigInt(size), BigInt(size) + 1n]) {
        await expect(device.read(new Uint8Array(1), offset)).rejects.toMatchObject({ code: 'USAGE' });
      }
    });

    test('refuses every change', async () => {
      const { device } = await open();
      await using _ = device;
      expect(device.facts.writable).toBe(false);
      for (const change of [device.write(new Uint8Array(1), 0n), device.zero(0n, 1n), device.trim(0n, 1n)]) {
        await expect(change).rejects.toMatchObject({ code: 'READ_ONLY' });
      }
    });

    test('tiles any range with extents, and calls nothing zero that is not', async () => {
      const { device, bytes } = await open();
      await using _ = device;
      await fc.assert(
        fc.asyncProperty(fc.nat(bytes.length), fc.nat(bytes.length), async (one, other) => {
          const [start, end] = [Math.min(one, other), Math.max(one, other)];
          const extents = await tiles(device, BigInt(start), BigInt(end - start));
          expectTiling(extents, BigInt(start), BigInt(end));
          for (const { offset, length } of extents.filter(({ zero }) => zero)) {
            const from = Number(offset);
            expect(bytes.subarray(from, from + Number(length)).every((byte) => byte === 0)).toBe(true);
          }
        }),
        { numRuns: 100 },
      );
    });

    test('hands on no host file of the device below unless it is a slice, and closes once', async () => {
      const { device } = await open();
      if (device instanceof Layer) {
        expect(device.facts.hostFile).toBeUndefined();
        expect(device.peek(0n, 1)).toBeUndefined();
      }
      const closing = device.close();
      expect(device.close()).toBe(closing);
      await closing;
      await expect(device.read(new Uint8Array(1), 0n)).rejects.toMatchObject({ code: 'IO', errno: 'EBADF' });
    });
  });
}
