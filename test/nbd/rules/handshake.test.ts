import { describe, expect, test } from 'vitest';
import { memoryDevice } from '../../../src/device/memory-device.js';
import {
  BLOCK_STATUS,
  clientOf,
  contexts,
  EINVAL,
  info,
  optionBytes,
  RawClient,
  READ,
  request,
  WRITE,
} from '../raw-client.js';
import { WatchedDevice } from './watched-device.js';

// Rules of NBD proto.md (extended headers: its branch extension-ext-header) on a server in the handshake.
const [ACK, INFO, META_CONTEXT] = [1, 3, 4];
const [ABORT, LIST, OPT_INFO, GO, STRUCTURED, LIST_META, SET_META, EXTENDED] = [2, 3, 6, 7, 8, 9, 10, 11];
const READ_ONLY = 1 << 1;
const SEND_DF = 1 << 7;
const STATUS_PAYLOAD = 1 << 12;

const types = (replies: readonly { type: number }[]) => replies.map(({ type }) => type);
const greeted = async (client: RawClient, flags = 3) => {
  await client.greet(flags);
  return client;
};
/** The transmission flags that INFO tells. */
const flagsTold = async (client: RawClient) => (await client.option(OPT_INFO, info('')))[0]?.data.readUInt16BE(10) ?? 0;

describe('"Option types"', () => {
  test.each([0, 1, 3])('GO is followed by no zeros, whatever the client flags (%i) say', async (flags) => {
    const client = await greeted(clientOf(), flags);
    await client.option(GO, info(''));
    client.send(request({ type: READ, cookie: 99n, length: 1 }));
    expect(await client.simple(1)).toMatchObject({ error: 0, cookie: 99n });
  });

  test('EXPORT_NAME after STRUCTURED_REPLY and SET_META_CONTEXT keeps what was agreed on', async () => {
    const client = await greeted(clientOf());
    await client.option(STRUCTURED);
    await client.option(SET_META, contexts('', 'base:allocation'));
    client.send(optionBytes(1, Buffer.alloc(0)));
    expect((await client.read(10)).readUInt16BE(8) & SEND_DF).toBe(SEND_DF);
    client.send(request({ type: BLOCK_STATUS, length: 512 }));
    expect((await client.chunk()).type).toBe(5);
  });

  test('ABORT of a client that goes at once ends the session', async () => {
    const client = await greeted(clientOf());
    client.send(optionBytes(ABORT, Buffer.alloc(0)));
    client.session.finish();
    await client.end();
    client.send(optionBytes(LIST, Buffer.alloc(0)));
    expect(client.ended).toBe(true);
  });

  test('INFO and a GO that asks for the same tell the same', async () => {
    const client = await greeted(clientOf());
    await client.option(EXTENDED);
    await client.option(SET_META, contexts('', 'base:allocation'));
    const told = await client.option(OPT_INFO, info('', 3, 1, 2));
    expect(await client.option(GO, info('', 3, 1, 2))).toEqual(told);
  });

  test('INFO tells each information once, though it was asked for twice', async () => {
    const client = await greeted(clientOf());
    const replies = await client.option(OPT_INFO, info('', 3, 3, 1, 1, 0, 0, 2, 2));
    const told = replies.filter(({ type }) => type === INFO).map(({ data }) => data.readUInt16BE(0));
    expect(told.sort()).toEqual([0, 1, 2, 3]);
  });

  test('INFO tells the name and the description that LIST tells', async () => {
    const client = await greeted(clientOf(1, { name: 'né', description: 'a disk, so to say' }));
    const [listed] = await client.option(LIST);
    const replies = await client.option(OPT_INFO, info('', 1, 2));
    const told = new Map(replies.slice(0, -1).map(({ data }) => [data.readUInt16BE(0), data.subarray(2)]));
    const nameLength = listed?.data.readUInt32BE(0) ?? 0;
    expect(told.get(1)).toEqual(listed?.data.subarray(4, 4 + nameLength));
    expect(told.get(2)).toEqual(listed?.data.subarray(4 + nameLength));
    expect(told.get(0)?.length).toBe(10);
  });

  test.each([
    ['STRUCTURED_REPLY', STRUCTURED],
    ['EXTENDED_HEADERS', EXTENDED],
  ])('%s may be asked for twice', async (_, type) => {
    const client = await greeted(clientOf());
    await client.option(type);
    expect(types(await client.option(type))).toEqual([ACK]);
  });

  test('EXTENDED_HEADERS is taken after STRUCTURED_REPLY, and takes precedence', async () => {
    const client = await greeted(clientOf());
    await client.option(STRUCTURED);
    expect(types(await client.option(EXTENDED))).toEqual([ACK]);
    await client.option(GO, info(''));
    // A compact header is no request any more.
    client.send(request({ type: READ, length: 1 }), Buffer.alloc(4));
    expect(client.ended).toBe(true);
  });

  test('LIST_META_CONTEXT is answered before structured replies, too', async () => {
    const client = await greeted(clientOf());
    expect(types(await client.option(LIST_META, contexts('')))).toEqual([META_CONTEXT, ACK]);
  });

  test('LIST_META_CONTEXT selects nothing', async () => {
    const client = await greeted(clientOf());
    await client.option(STRUCTURED);
    await client.option(LIST_META, contexts('', 'base:allocation'));
    await client.option(GO, info(''));
    client.send(request({ type: BLOCK_STATUS, length: 512 }));
    expect((await client.chunk()).data.readUInt32BE(0)).toBe(EINVAL);
  });

  test('SET_META_CONTEXT passes over leaves of base: that nobody knows', async () => {
    const client = await greeted(clientOf());
    await client.option(STRUCTURED);
    expect(types(await client.option(SET_META, contexts('', 'base:x', 'base:allocation')))).toEqual([
      META_CONTEXT,
      ACK,
    ]);
    expect(types(await client.option(SET_META, contexts('', 'base:x', 'base:Allocation')))).toEqual([ACK]);
  });
});

describe('"Option reply types"', () => {
  test('ACK has no data, and every error a message of at most 4096 bytes without NUL', async () => {
    const client = await greeted(clientOf());
    const replies = [
      ...(await client.option(STRUCTURED)),
      ...(await client.option(STRUCTURED, Buffer.alloc(9))),
      ...(await client.option(LIST, Buffer.alloc(9))),
      ...(await client.option(GO, info('n'.repeat(4096)))),
      ...(await client.option(GO, Buffer.alloc(3))),
      ...(await client.option(SET_META, contexts('ü'.repeat(2048)))),
      ...(await client.option(77)),
      ...(await client.option(OPT_INFO, Buffer.alloc(100_000))),
      ...(await client.option(EXTENDED)),
      ...(await client.option(STRUCTURED)),
    ];
    const errors = replies.filter(({ type }) => type >= 2 ** 31);
    expect(errors).toHaveLength(8);
    for (const { data } of replies.filter(({ type }) => type === ACK)) expect(data).toHaveLength(0);
    for (const { data } of errors) {
      expect(data.length).toBeGreaterThan(0);
      expect(data.length).toBeLessThanOrEqual(4096);
      expect(data.includes(0)).toBe(false);
      expect(data.toString('utf8')).not.toContain('\ufffd');
    }
  });
});

describe('"Transmission flags"', () => {
  test('SEND_DF comes with structured replies and with extended headers, and with nothing else', async () => {
    const client = await greeted(clientOf());
    expect((await flagsTold(client)) & SEND_DF).toBe(0);
    await client.option(EXTENDED);
    expect((await flagsTold(client)) & SEND_DF).toBe(SEND_DF);
  });

  test('BLOCK_STATUS_PAYLOAD comes with extended headers and a context, and with neither alone', async () => {
    const client = await greeted(clientOf());
    await client.option(STRUCTURED);
    await client.option(SET_META, contexts('', 'base:allocation'));
    expect((await flagsTold(client)) & STATUS_PAYLOAD).toBe(0);
    await client.option(EXTENDED);
    expect((await flagsTold(client)) & STATUS_PAYLOAD).toBe(STATUS_PAYLOAD);
    await client.option(SET_META, contexts(''));
    expect((await flagsTold(client)) & STATUS_PAYLOAD).toBe(0);
  });

  test('READ_ONLY is told of a device that takes no writes, and of an export that shall not', async () => {
    const devices = [new WatchedDevice(512n, { writable: false }), memoryDevice(512n)];
    const exports = devices.map((device, i) => ({ name: `${i}`, description: 'x', device, readOnly: i === 1 }));
    const client = await greeted(new RawClient(exports));
    for (const { name } of exports) {
      const [first] = await client.option(OPT_INFO, info(name));
      expect((first?.data.readUInt16BE(10) ?? 0) & READ_ONLY).toBe(READ_ONLY);
    }
  });

  test('no command is offered that the device cannot do', async () => {
    const device = new WatchedDevice(512n, { flush: false, trim: false, fua: 'none' });
    const client = await greeted(clientOf(512, { device }));
    // SEND_FLUSH, SEND_FUA, SEND_TRIM.
    expect((await flagsTold(client)) & 0b10_1100).toBe(0);
    const withoutZero = await greeted(clientOf(512, { device: new WatchedDevice(512n, { zero: 'none' }) }));
    // SEND_WRITE_ZEROES, SEND_FAST_ZERO.
    expect((await flagsTold(withoutZero)) & 0b1000_0100_0000).toBe(0);
  });
});

describe('"Size constraints"', () => {
  const constrained = (minimum: number) =>
    new WatchedDevice(65_536n, { blockSize: { minimum, preferred: minimum, maximum: 1 << 20 } });

  test.each([1, 512, 4096, 65_536])(
    'a minimum of %i: powers of 2 in order, and payloads of 32 MiB',
    async (minimum) => {
      const client = await greeted(clientOf(65_536, { device: constrained(minimum) }));
      const replies = await client.option(OPT_INFO, info('', 3));
      const told = replies.filter(({ type, data }) => type === INFO && data.readUInt16BE(0) === 3);
      expect(told).toHaveLength(1);
      const data = told[0]?.data ?? Buffer.alloc(14);
      expect(data).toHaveLength(14);
      const [least, preferred, most] = [2, 6, 10].map((at) => data.readUInt32BE(at));
      expect(least).toBe(minimum);
      expect(preferred).toBe(Math.max(minimum, 512));
      expect(most).toBe(32 << 20);
    },
  );

  test('constraints other than the default are told to who does not ask', async () => {
    const client = await greeted(clientOf(65_536, { device: constrained(4096) }));
    const replies = await client.option(GO, info(''));
    expect(replies.slice(0, -1).map(({ data }) => data.readUInt16BE(0))).toEqual([0, 3]);
  });

  test.each([
    ['read', READ],
    ['write', WRITE],
    ['zeroing', 6],
    ['trim', 4],
  ])('a %s that is no multiple of the minimum is EINVAL, and changes nothing', async (_, type) => {
    const device = constrained(4096);
    const client = clientOf(65_536, { device });
    await client.go();
    for (const [offset, length] of [
      [512n, 4096],
      [0n, 1000],
    ] as const) {
      client.send(request({ type, offset, length }), Buffer.alloc(type === WRITE ? length : 0, 1));
      expect((await client.simple(length)).error).toBe(EINVAL);
    }
    expect(device.asked).toEqual([]);
    client.send(request({ type: READ, length: 4096 }));
    expect(await client.simple(4096)).toMatchObject({ error: 0, data: Buffer.alloc(4096) });
  });
});
