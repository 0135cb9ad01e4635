import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { BLOCK_STATUS, clientOf, extended, type RawClient, READ, request } from '../raw-client.js';
import { WatchedDevice } from './watched-device.js';

// Rules of NBD proto.md (extended headers: its branch extension-ext-header) on how a reply is cut into chunks, and on
// block status: for any layout of data and holes, and any range.
const [DF, REQ_ONE] = [4, 8];
const DONE = 1;
const [OFFSET_DATA, OFFSET_HOLE] = [1, 2];
const block = 4096;
const size = 256 * block;

const layout = fc.array(
  fc.record({ start: fc.nat(255), count: fc.integer({ min: 1, max: 40 }), value: fc.integer({ min: 0, max: 255 }) }),
  { maxLength: 12 },
);
const range = fc
  .tuple(fc.nat(size - 1), fc.integer({ min: 1, max: size }))
  .map(([offset, length]) => ({ offset, length: Math.min(length, size - offset) }));

type ChunkStyle = 'structured' | 'extended';
interface Chunk {
  readonly flags: number;
  readonly type: number;
  readonly data: Buffer;
}

/** A client of a disk of that layout, and its bytes. */
async function laidOut(style: ChunkStyle, pieces: readonly { start: number; count: number; value: number }[]) {
  const device = memoryDevice(BigInt(size));
  const bytes = Buffer.alloc(size);
  for (const { start, count, value } of pieces) {
    const data = Buffer.alloc(Math.min(count * block, size - start * block), value);
    data.copy(bytes, start * block);
    await device.write(data, BigInt(start * block));
  }
  const client = clientOf(size, { device });
  await client.go(style);
  return { client, bytes };
}

/** All chunks of one reply. */
async function chunksOf(client: RawClient, style: ChunkStyle): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  do chunks.push(style === 'structured' ? await client.chunk() : await client.extendedChunk());
  while (((chunks.at(-1)?.flags ?? DONE) & DONE) === 0);
  return chunks;
}

describe.each(['structured', 'extended'] as const)('with %s replies', (style) => {
  const header = style === 'structured' ? request : extended;

  test('the chunks of a read cover it without overlap, none empty, cut at multiples of 512', async () => {
    await fc.assert(
      fc.asyncProperty(layout, range, async (pieces, { offset, length }) => {
        const { client, bytes } = await laidOut(style, pieces);
        client.send(header({ type: READ, offset: BigInt(offset), length }));
        const found = Buffer.alloc(length, 0xee);
        let covered = 0;
        const seen = new Set<number>();
        for (const { type, data } of await chunksOf(client, style)) {
          expect([OFFSET_DATA, OFFSET_HOLE]).toContain(type);
          const at = Number(data.readBigUInt64BE(0));
          if (type === OFFSET_HOLE) expect(data).toHaveLength(12);
          const part = type === OFFSET_HOLE ? Buffer.alloc(data.readUInt32BE(8)) : data.subarray(8);
          expect(part.length).toBeGreaterThan(0);
          expect(at).toBeGreaterThanOrEqual(offset);
          expect(at + part.length).toBeLessThanOrEqual(offset + length);
          if (at !== offset) expect(at % 512).toBe(0);
          expect(seen.has(at)).toBe(false);
          seen.add(at);
          part.copy(found, at - offset);
          covered += part.length;
        }
        // As many bytes as were asked for, and all of them right: so no two chunks overlap.
        expect(covered).toBe(length);
        expect(found.equals(bytes.subarray(offset, offset + length))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('DF is one chunk of data', async () => {
    await fc.assert(
      fc.asyncProperty(layout, range, async (pieces, { offset, length }) => {
        const { client, bytes } = await laidOut(style, pieces);
        client.send(header({ type: READ, flags: DF, offset: BigInt(offset), length }));
        const [chunk, ...more] = await chunksOf(client, style);
        expect(more).toEqual([]);
        expect(chunk?.type).toBe(OFFSET_DATA);
        expect(chunk?.data.subarray(8).equals(bytes.subarray(offset, offset + length))).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  /** Length and flags of each extent of the one chunk of a block status. */
  const statusOf = async (client: RawClient, fields: { flags: number; offset: number; length: number }) => {
    client.send(header({ type: BLOCK_STATUS, ...fields, offset: BigInt(fields.offset) }));
    const [chunk, ...more] = await chunksOf(client, style);
    expect(more).toEqual([]);
    expect(chunk?.type).toBe(style === 'structured' ? 5 : 6);
    const data = chunk?.data ?? Buffer.alloc(0);
    if (style === 'structured') {
      expect(data.length % 8).toBe(4);
      return Array.from(
        { length: (data.length - 4) / 8 },
        (_, i) => [data.readUInt32BE(4 + i * 8), data.readUInt32BE(8 + i * 8)] as const,
      );
    }
    const count = data.readUInt32BE(4);
    expect(data).toHaveLength(8 + count * 16);
    return Array.from(
      { length: count },
      (_, i) => [Number(data.readBigUInt64BE(8 + i * 16)), Number(data.readBigUInt64BE(16 + i * 16))] as const,
    );
  };

  test('block status is one chunk of extents, none empty, no two alike in a row, and true', async () => {
    await fc.assert(
      fc.asyncProperty(layout, range, async (pieces, { offset, length }) => {
        const { client, bytes } = await laidOut(style, pieces);
        const extents = await statusOf(client, { flags: 0, offset, length });
        expect(extents.length).toBeGreaterThan(0);
        let at = offset;
        for (const [index, [extent, flags]] of extents.entries()) {
          // All but the last end inside of what was asked.
          expect(at).toBeLessThan(offset + length);
          expect(extent).toBeGreaterThan(0);
          expect(flags & ~3).toBe(0);
          expect(flags).not.toBe(extents[index + 1]?.[1]);
          if (at !== offset) expect(at % 512).toBe(0);
          if (flags & 2) expect(bytes.subarray(at, at + extent).every((byte) => byte === 0)).toBe(true);
          at += extent;
        }
      }),
      { numRuns: 60 },
    );
  });

  test('block status is told in multiples of the minimum block, and asked in multiples', async () => {
    const below = memoryDevice(BigInt(size));
    await below.write(new Uint8Array(4096).fill(1), 4096n);
    const facts = { blockSize: { minimum: 65_536, preferred: 65_536, maximum: size } };
    const client = clientOf(size, { device: new WatchedDevice(BigInt(size), facts, below) });
    await client.go(style);
    expect(await statusOf(client, { flags: 0, offset: 0, length: size })).toEqual([
      [65_536, 0],
      [size - 65_536, 3],
    ]);
    client.send(header({ type: BLOCK_STATUS, offset: 512n, length: 1000 }));
    const [chunk] = await chunksOf(client, style);
    expect(chunk?.data.readUInt32BE(0)).toBe(22);
  });

  test('REQ_ONE is one extent, inside of what was asked', async () => {
    await fc.assert(
      fc.asyncProperty(layout, range, async (pieces, { offset, length }) => {
        const { client } = await laidOut(style, pieces);
        const extents = await statusOf(client, { flags: REQ_ONE, offset, length });
        expect(extents).toHaveLength(1);
        expect(extents[0]?.[0]).toBeGreaterThan(0);
        expect(extents[0]?.[0]).toBeLessThanOrEqual(length);
      }),
      { numRuns: 30 },
    );
  });
});
