import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { viewOf } from '../../src/binary/layout.js';
import { measureZstdFrame } from '../../src/binary/zstd-frame.js';
import {
  type ZstdCodec,
  zstdCodecs,
  zstdCompressInto,
  zstdDecompress,
  zstdDecompressFrame,
} from '../../src/host/zstd.js';
import { needs } from '../support/needs.js';

const it = needs({ programs: ['zstd'] });

/** What zstd(1) makes of bytes on its standard input: it does not know then how many will come, and does not say. */
function compressed(bytes: Uint8Array, ...options: string[]): Buffer {
  return execFileSync('zstd', ['--quiet', '--stdout', ...options], { input: bytes, maxBuffer: 1 << 24 });
}

async function zstdCompress(bytes: Uint8Array, most: number, codec: ZstdCodec): Promise<Uint8Array | undefined> {
  const into = new Uint8Array(most);
  const length = await zstdCompressInto(bytes, into, codec);
  return length === undefined ? undefined : into.subarray(0, length);
}

const size = 200_000;
const text = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `${i * 7}, `).join('')).subarray(0, size);
let state = 1;
const noise = Uint8Array.from({ length: size }, () => {
  state = (state * 48271) % 0x7fffffff;
  return state & 0xff;
});
const inputs = { text, noise, 'one byte repeated': new Uint8Array(size).fill(7), 'a single byte': Uint8Array.of(42) };
const garbage = Buffer.from('what lies behind, (\xb5/\xfd with the start of a frame', 'latin1');

describe.each(zstdCodecs())('zstd by %s', (codec) => {
  it('decompresses one frame to what comes of it, and refuses more than there is room for', async () => {
    const bytes = Buffer.concat([compressed(text), Buffer.alloc(100)]);
    expect(Buffer.from(await zstdDecompressFrame(bytes, size, codec)).equals(text)).toBe(true);
    expect(Buffer.from(await zstdDecompressFrame(bytes, size + 5000, codec)).equals(text)).toBe(true);
    await expect(zstdDecompressFrame(bytes, size - 1, codec)).rejects.toThrow();
    await expect(zstdDecompressFrame(bytes.subarray(0, 1000), size, codec)).rejects.toThrow();
  });

  const decompress = (bytes: Uint8Array, wanted: number) => zstdDecompress(bytes, wanted, codec);

  for (const [what, bytes] of Object.entries(inputs)) {
    it(`decompresses what zstd(1) wrote, whatever lies behind: ${what}`, async () => {
      for (const options of [
        [],
        ['--no-check'],
        ['-19'],
        [`--stream-size=${bytes.length}`],
        ['-1', '--content-size'],
      ]) {
        const frame = compressed(bytes, ...options);
        for (const stored of [frame, Buffer.concat([frame, garbage]), Buffer.concat([frame, new Uint8Array(511)])]) {
          expect(measureZstdFrame(viewOf(stored), 0).length).toBe(frame.length);
          expect(Buffer.compare(await decompress(stored, bytes.length), bytes)).toBe(0);
        }
      }
    });
  }

  for (const [what, bytes] of Object.entries(inputs)) {
    it(`compresses to one frame that zstd(1) reads and that tells its size: ${what}`, async () => {
      const frame = await zstdCompress(bytes, size + 1000, codec);
      if (frame === undefined) throw new Error('it does not fit');
      expect(measureZstdFrame(viewOf(frame), 0)).toMatchObject({ length: frame.length, contentSize: bytes.length });
      const back = execFileSync('zstd', ['-dcq'], { input: frame, maxBuffer: 1 << 24 });
      expect(Buffer.compare(back, bytes)).toBe(0);
      expect(Buffer.compare(await decompress(frame, bytes.length), bytes)).toBe(0);
    });
  }

  it('says that a frame takes more than it may, and compresses what fits with a little room', async () => {
    expect(await zstdCompress(noise, size - 1, codec)).toBeUndefined();
    const { length } = (await zstdCompress(text, size, codec)) ?? {};
    if (length === undefined) throw new Error('it does not fit');
    expect((await zstdCompress(text, length + 256, codec))?.length).toBe(length);
    expect(await zstdCompress(text, length - 1, codec)).toBeUndefined();
  });

  it('compresses many at the same time', async () => {
    const parts = Array.from({ length: 64 }, (_, i) => text.subarray(i * 1000, i * 1000 + 65536));
    const frames = await Promise.all(parts.map((part) => zstdCompress(part, part.length, codec)));
    for (const [i, frame] of frames.entries()) {
      const part = parts[i] ?? new Uint8Array();
      expect(Buffer.compare(await decompress(frame ?? new Uint8Array(), part.length), part)).toBe(0);
    }
  });

  it('joins frames, and skips those that are to be skipped', async () => {
    const skippable = Buffer.concat([Buffer.from('5b2a4d1803000000', 'hex'), Buffer.from('abc')]);
    const half = size / 2;
    const frames = [
      skippable,
      compressed(text.subarray(0, half)),
      skippable,
      compressed(text.subarray(half), `--stream-size=${half}`),
    ];
    expect(Buffer.compare(await decompress(Buffer.concat([...frames, garbage]), size), text)).toBe(0);
  });

  it('refuses what is cut short, damaged, too short or too long', async () => {
    for (const options of [[], [`--stream-size=${size}`]]) {
      const frame = compressed(text, ...options);
      for (const end of [0, 3, 5, 9, 100, frame.length - 1]) {
        await expect(decompress(frame.subarray(0, end), size)).rejects.toThrow();
      }
      await expect(decompress(frame, size + 1)).rejects.toThrow();
      await expect(decompress(frame, size - 1)).rejects.toThrow();
      const damaged = Buffer.from(frame);
      damaged.fill(0x55, 200, 220);
      await expect(decompress(damaged, size)).rejects.toThrow();
    }
  });

  it('refuses a window of more than 8 MiB where the size is not told', async () => {
    const frame = compressed(text, '--long=27');
    await expect(decompress(frame, size)).rejects.toThrow(/window of 134217728 bytes/);
    const told = compressed(text, '--long=27', `--stream-size=${size}`);
    expect(Buffer.compare(await decompress(told, size), text)).toBe(0);
  });

  it('ends in the bytes or an error for 2000 changed frames', async () => {
    const frame = compressed(text.subarray(0, 4096), '--no-check', '--stream-size=4096');
    for (let i = 0; i < 2000; i++) {
      const changed = Buffer.from(frame);
      for (let j = 0; j <= i % 3; j++) {
        state = (state * 48271) % 0x7fffffff;
        changed[state % (i % 2 === 0 ? 24 : changed.length)] = (state >>> 8) & 0xff;
      }
      const result = await decompress(changed, 4096).catch((error: unknown) => error);
      if (result instanceof Uint8Array) expect(result.length).toBe(4096);
      else expect(result).toBeInstanceOf(Error);
    }
  });
});

test('always has a codec, and one that needs nothing of the host', () => {
  expect(zstdCodecs().at(-1)).toBe('wasm');
});
