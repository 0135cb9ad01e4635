import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decompressLzo } from '../../src/binary/lzo.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';

/** Compresses by liblzo2, which btrfs-progs needs, as the kernel does: lzo1x_1_compress. */
const script = `
import ctypes, sys
lzo = ctypes.CDLL('liblzo2.so.2')
data = bytes.fromhex(sys.stdin.read())
out = ctypes.create_string_buffer(len(data) + len(data) // 16 + 67)
size = ctypes.c_ulong(len(out))
assert lzo.lzo1x_1_compress(data, len(data), out, ctypes.byref(size), ctypes.create_string_buffer(1 << 17)) == 0
print(out.raw[:size.value].hex())
`;

async function compress(bytes: Uint8Array): Promise<Buffer> {
  return Buffer.from(
    await run('/usr/bin/python3', ['-c', script], { stdin: 'pipe', input: Buffer.from(bytes).toString('hex') }),
    'hex',
  );
}

const contents: Record<string, Buffer> = {
  'one byte': Buffer.from('a'),
  'a few': Buffer.from('abcdefg'),
  zeros: Buffer.alloc(4096),
  'many zeros': Buffer.alloc(300_000),
  text: Buffer.from(Array.from({ length: 3000 }, (_, i) => `line ${i} of this text\n`).join('')),
  'what does not shrink': Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * i * 31 + (i >> 3)) & 0xff)),
  'what comes again from afar': Buffer.concat([
    ...[1, 2, 3].flatMap((n) => [
      Buffer.from('a beginning that comes again'.repeat(2)),
      Buffer.from(Array.from({ length: n * 15_000 }, (_, i) => (i * i * 13 + (i >> 5)) & 0xff)),
    ]),
  ]),
};

for (const [name, content] of Object.entries(contents)) {
  needs({ programs: ['python3', 'btrfs'] })(`what liblzo2 makes of ${name} is decompressed`, async () => {
    const output = new Uint8Array(content.length);
    expect(decompressLzo(await compress(content), output)).toBe(content.length);
    expect(Buffer.from(output).equals(content)).toBe(true);
  });
}

needs({ programs: ['python3', 'btrfs'] })('what is damaged ends in a RangeError or stays within its room', async () => {
  const good = await compress(contents.text ?? Buffer.alloc(0));
  const change = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(good.length), (changes, length) => {
      const bad = Buffer.from(good);
      for (const { at, byte } of changes) bad[at] = byte;
      attempt(bad.subarray(0, length));
    }),
    { numRuns: 500, seed: 1 },
  );
});

test('whatever bytes end in a RangeError or stay within their room', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => attempt(bytes)),
    { numRuns: 2000, seed: 1 },
  );
});

function attempt(bytes: Uint8Array): void {
  const output = new Uint8Array(70_000);
  try {
    expect(decompressLzo(bytes, output)).toBeLessThanOrEqual(output.length);
  } catch (error) {
    expect(error).toBeInstanceOf(RangeError);
  }
}
