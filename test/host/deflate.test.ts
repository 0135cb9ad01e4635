import { inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type DeflateCodec, deflateCodecs, deflateInto } from '../../src/host/deflate.js';
import { noise, text } from '../support/qcow2-written.js';

const options = { windowBits: 12, memLevel: 9 };
async function deflate(bytes: Uint8Array, room: number, codec: DeflateCodec): Promise<Uint8Array | undefined> {
  const into = new Uint8Array(room);
  const length = await deflateInto(bytes, into, options, codec);
  return length === undefined ? undefined : into.subarray(0, length);
}
const inputs = {
  text: text(65536),
  noise: noise(65536),
  'one byte repeated': Buffer.alloc(2 << 20, 7),
  'a few bytes': Buffer.from('abcabcabcabcabc'),
  '512 bytes': text(512),
};

test("is at hand by Node's own functions, whatever else is", () => {
  expect(deflateCodecs().at(-1)).toBe('node');
});

describe.each(deflateCodecs())('deflate by %s', (codec) => {
  for (const [what, bytes] of Object.entries(inputs)) {
    test(`makes what zlib inflates with the same window: ${what}`, async () => {
      const stream = await deflate(bytes, bytes.length + 1000, codec);
      if (stream === undefined) throw new Error('it does not fit');
      expect(Buffer.compare(inflateRawSync(stream, { windowBits: options.windowBits }), bytes)).toBe(0);
    });

    test(`says that it does not fit, to the byte: ${what}`, async () => {
      const { length = 0 } = (await deflate(bytes, bytes.length + 1000, codec)) ?? {};
      expect(await deflate(bytes, length, codec)).toBeUndefined();
      expect((await deflate(bytes, length + 1, codec))?.length).toBe(length);
    });
  }

  test('does many at once, and mixes none of them up', async () => {
    const many = Array.from({ length: 200 }, (_, i) => text(1 + ((i * 7919) % 70_000)));
    const streams = await Promise.all(many.map((bytes) => deflate(bytes, bytes.length + 1000, codec)));
    for (const [i, bytes] of many.entries()) {
      expect(Buffer.compare(inflateRawSync(streams[i] ?? Buffer.alloc(0)), bytes)).toBe(0);
    }
  });
});
