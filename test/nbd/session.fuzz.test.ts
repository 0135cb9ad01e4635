import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { TlsMode } from '../../src/nbd/handshake.js';
import { nightly } from '../support/needs.js';
import {
  clientOf,
  contexts,
  extended,
  info,
  optionBytes,
  type RawClient,
  request,
  type Style,
  u32,
} from './raw-client.js';

/** Bytes that look like the protocol, more or less: so that the fuzz gets past the magic numbers. */
const number = fc.oneof(fc.constantFrom(0, 1, 4, 28, 4096, 2 ** 31, 2 ** 32 - 1), fc.nat(2 ** 20));
const offset = fc.oneof(fc.bigInt(0n, 2n ** 21n), fc.bigInt(0n, 2n ** 64n - 1n));
const rawBytes = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const anyOption = fc
  .tuple(fc.oneof(fc.integer({ min: 0, max: 13 }), number), rawBytes)
  .map(([type, data]) => optionBytes(type, data));
const empty = Buffer.alloc(0);
const base = contexts('', 'base:allocation');
const goodOption = fc.constantFrom(
  optionBytes(8, empty),
  optionBytes(11, empty),
  optionBytes(10, base),
  optionBytes(7, info('', 1, 2, 3)),
  optionBytes(1, empty),
  optionBytes(5, empty),
);
const anyRequest = fc
  .record({ type: fc.integer({ min: 0, max: 9 }), flags: fc.integer({ min: 0, max: 127 }), offset, length: number })
  .chain((fields) => fc.constantFrom(request(fields), extended(fields)));
const piece = fc.oneof(rawBytes, anyOption, goodOption, anyRequest);

const after =
  (...options: (readonly [type: number, data?: Buffer])[]) =>
  async (client: RawClient) => {
    await client.greet();
    for (const [type, data] of options) await client.option(type, data);
  };
const inTransmission = (style: Style, context: boolean) => (client: RawClient) => client.go(style, '', context);

/** Every state of the protocol, and how a client comes there. */
const states: Record<string, (client: RawClient) => Promise<unknown>> = {
  'before the flags': (client) => client.read(18),
  'after the flags': (client) => client.greet(),
  'after flags of 0': (client) => client.greet(0),
  'after LIST': after([3]),
  'after STARTTLS': after([5]),
  'after INFO': after([6, info('', 3)]),
  'after a refused GO': after([7, info('none')]),
  'after STRUCTURED_REPLY': after([8]),
  'after LIST_META_CONTEXT': after([8], [9, contexts('')]),
  'after SET_META_CONTEXT': after([8], [10, base]),
  'after a refused SET_META_CONTEXT': after([8], [10, base], [10, Buffer.alloc(3)]),
  'after EXTENDED_HEADERS': after([11]),
  'after EXTENDED_HEADERS and SET_META_CONTEXT': after([11], [10, base]),
  'after data that are too long': after([6, Buffer.alloc(70_000)]),
  'in an option of which half is there': async (client) => {
    await client.greet();
    client.send(optionBytes(7, info('', 1, 2, 3)).subarray(0, 20));
  },
  'after EXPORT_NAME': async (client) => {
    await client.greet();
    client.send(optionBytes(1, empty));
    await client.read(10);
  },
  'with simple replies': inTransmission('simple', false),
  'with structured replies': inTransmission('structured', false),
  'with structured replies and a context': inTransmission('structured', true),
  'with extended headers': inTransmission('extended', false),
  'with extended headers and a context': inTransmission('extended', true),
  'in a write of which half is there': async (client) => {
    await client.go('structured');
    client.send(request({ type: 1, length: 1000 }), Buffer.alloc(500));
  },
  'in an extended payload of which half is there': async (client) => {
    await client.go('extended');
    client.send(extended({ type: 1, flags: 32, length: 100_000 }), Buffer.alloc(50));
  },
};

test.each(Object.keys(states))(
  'no bytes %s make the session throw, hang, or send after its end',
  async (state) => {
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(piece, { maxLength: 20 }),
        fc.integer({ min: 1, max: 300 }),
        fc.constantFrom<TlsMode>('off', 'on'),
        async (readOnly, pieces, chunk, tls) => {
          const client = clientOf(1 << 20, { readOnly }, tls);
          await states[state]?.(client);
          const all = Buffer.concat(state === 'before the flags' ? [u32(3), ...pieces] : pieces);
          for (let at = 0; at < all.length; at += chunk) {
            client.send(all.subarray(at, at + chunk));
            if (at % 7 === 0) await turn();
          }
          client.session.finish();
          await client.end();
          expect(client.ended).toBe(true);
        },
      ),
      { numRuns: nightly ? 2000 : 100 },
    );
  },
  60_000,
);
