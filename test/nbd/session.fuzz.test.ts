import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { clientOf, contexts, extended, info, optionBytes, request, type Style, u32 } from './raw-client.js';

/** Bytes that look like the protocol, more or less: so that the fuzz gets past the magic numbers. */
const number = fc.oneof(fc.constantFrom(0, 1, 4, 28, 4096, 2 ** 31, 2 ** 32 - 1), fc.nat(2 ** 20));
const offset = fc.oneof(fc.bigInt(0n, 2n ** 21n), fc.bigInt(0n, 2n ** 64n - 1n));
const rawBytes = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const anyOption = fc
  .tuple(fc.oneof(fc.integer({ min: 0, max: 13 }), number), rawBytes)
  .map(([type, data]) => optionBytes(type, data));
const goodOption = fc.constantFrom(
  optionBytes(8, Buffer.alloc(0)),
  optionBytes(11, Buffer.alloc(0)),
  optionBytes(10, contexts('', 'base:allocation')),
  optionBytes(7, info('', 1, 2, 3)),
  optionBytes(1, Buffer.alloc(0)),
);
const anyRequest = fc
  .record({ type: fc.integer({ min: 0, max: 9 }), flags: fc.integer({ min: 0, max: 127 }), offset, length: number })
  .chain((fields) => fc.constantFrom(request(fields), extended(fields)));
const piece = fc.oneof(rawBytes, anyOption, goodOption, anyRequest);

test('no bytes at any state of the protocol make the session throw, or send after its end', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<'nothing' | 'greeted' | Style>('nothing', 'greeted', 'simple', 'structured', 'extended'),
      fc.array(piece, { maxLength: 20 }),
      fc.integer({ min: 1, max: 300 }),
      async (start, pieces, chunk) => {
        const client = clientOf(1 << 20);
        if (start === 'greeted') await client.greet();
        else if (start !== 'nothing') await client.go(start);
        const all = start === 'nothing' ? Buffer.concat([u32(3), ...pieces]) : Buffer.concat(pieces);
        for (let at = 0; at < all.length; at += chunk) {
          client.send(all.subarray(at, at + chunk));
          if (at % 7 === 0) await turn();
        }
        client.session.finish();
        await client.end();
      },
    ),
    { numRuns: 300 },
  );
  expect(true).toBe(true);
}, 30_000);
