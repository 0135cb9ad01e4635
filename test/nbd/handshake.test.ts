import { describe, expect, test } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import type { TlsMode } from '../../src/nbd/handshake.js';
import { clientOf, contexts, info, MiB, optionBytes, RawClient, u32 } from './raw-client.js';

// Numbers and rules: NBD proto.md, "Newstyle negotiation" to "Option reply types".
const [ACK, SERVER, INFO, META_CONTEXT] = [1, 2, 3, 4];
const error = (number: number) => 2 ** 31 + number;
const [ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_TLS_REQD, ERR_UNKNOWN, ERR_TOO_BIG, ERR_EXT_HEADER_REQD] = [
  1, 2, 3, 5, 6, 9, 10,
].map(error);
const [EXPORT_NAME, ABORT, LIST, STARTTLS, OPT_INFO, GO, STRUCTURED, LIST_META, SET_META, EXTENDED] = [
  1, 2, 3, 5, 6, 7, 8, 9, 10, 11,
] as const;

const types = (replies: readonly { type: number }[]) => replies.map(({ type }) => type);
const two = () =>
  new RawClient([
    { name: 'one', description: 'the first', device: memoryDevice(1000n) },
    { name: 'zwei/ü', description: 'the second', device: memoryDevice(2000n), readOnly: true },
  ]);

describe('the greeting', () => {
  test('offers fixed newstyle and NO_ZEROES', async () => {
    const greeting = await clientOf().greet();
    expect(greeting.toString('latin1', 0, 16)).toBe('NBDMAGICIHAVEOPT');
    expect(greeting.readUInt16BE(16)).toBe(3);
  });

  test('drops a client that sets an unknown flag', async () => {
    const client = clientOf();
    await client.greet(4);
    expect(client.ended).toBe(true);
  });

  test('drops an option with a wrong magic number', async () => {
    const client = clientOf();
    await client.greet();
    client.send(Buffer.from('IHAVEOPS'), u32(ABORT), u32(0));
    expect(client.ended).toBe(true);
  });
});

describe('EXPORT_NAME', () => {
  test.each([
    ['sends 124 zeros without NO_ZEROES', 1, 134],
    ['sends no zeros with NO_ZEROES', 3, 10],
    ['serves a client that does not know fixed newstyle', 0, 134],
  ])('%s', async (_, flags, size) => {
    const client = clientOf(12345);
    await client.greet(flags);
    client.send(optionBytes(EXPORT_NAME, Buffer.alloc(0)));
    const reply = await client.read(size);
    expect(reply.readBigUInt64BE(0)).toBe(12345n);
    expect(reply.readUInt16BE(8) & 1).toBe(1);
    expect(reply.subarray(10).every((byte) => byte === 0)).toBe(true);
    expect(client.session.transmitting).toBe(true);
  });

  test.each([
    ['of an unknown export', Buffer.from('none')],
    ['longer than 4096 bytes', Buffer.alloc(5000, 'a')],
  ])('hangs up on a name %s', async (_, name) => {
    const client = clientOf();
    await client.greet();
    client.send(optionBytes(EXPORT_NAME, name));
    expect(client.ended).toBe(true);
  });

  test('hangs up when extended headers were negotiated', async () => {
    const client = clientOf();
    await client.greet();
    await client.option(EXTENDED);
    client.send(optionBytes(EXPORT_NAME, Buffer.alloc(0)));
    expect(client.ended).toBe(true);
  });
});

describe('ABORT and unknown options', () => {
  test.each([0, 3])('ABORT with %i bytes of data is acknowledged, then the session ends', async (size) => {
    const client = clientOf();
    await client.greet();
    expect(types(await client.option(ABORT, Buffer.alloc(size)))).toEqual([ACK]);
    expect(client.ended).toBe(true);
  });

  test.each([4, 12, 0xffffffff])('option %i is not supported, and the next one is read', async (type) => {
    const client = clientOf();
    await client.greet();
    expect(types(await client.option(type, Buffer.from('data')))).toEqual([ERR_UNSUP]);
    expect(types(await client.option(LIST))).toEqual([SERVER, ACK]);
  });

  test('data past 64 KiB are read past and refused', async () => {
    const client = clientOf();
    await client.greet();
    expect(types(await client.option(OPT_INFO, Buffer.alloc(300_000)))).toEqual([ERR_TOO_BIG]);
    expect(types(await client.option(LIST))).toEqual([SERVER, ACK]);
  });

  test('a client that only ever asks options is dropped', async () => {
    const client = clientOf();
    await client.greet();
    for (let i = 0; i < 1024; i++) client.send(optionBytes(99, Buffer.alloc(0)));
    expect(client.ended).toBe(true);
  });
});

describe('LIST', () => {
  test('tells each export with its description, as often as asked', async () => {
    const client = two();
    await client.greet();
    await client.option(LIST);
    const replies = await client.option(LIST);
    expect(types(replies)).toEqual([SERVER, SERVER, ACK]);
    expect(replies[1]?.data).toEqual(Buffer.concat([u32(7), Buffer.from('zwei/üthe second')]));
  });

  test('refuses data', async () => {
    const client = clientOf();
    await client.greet();
    expect(types(await client.option(LIST, Buffer.from('x')))).toEqual([ERR_INVALID]);
  });
});

describe('INFO and GO', () => {
  test('INFO tells size and flags, and stays in the handshake', async () => {
    const client = two();
    await client.greet();
    const replies = await client.option(OPT_INFO, info('zwei/ü'));
    expect(types(replies)).toEqual([INFO, ACK]);
    expect(replies[0]?.data.readUInt16BE(0)).toBe(0);
    expect(replies[0]?.data.readBigUInt64BE(2)).toBe(2000n);
    // HAS_FLAGS, READ_ONLY, SEND_FLUSH, CAN_MULTI_CONN, SEND_CACHE.
    expect(replies[0]?.data.readUInt16BE(10)).toBe(0b101_0000_0111);
    expect(client.session.transmitting).toBe(false);
    await client.option(GO, info('zwei/ü'));
    expect(client.session.transmitting).toBe(true);
  });

  test('GO tells name, description and block sizes when asked, and passes over what it does not know', async () => {
    const client = two();
    await client.greet();
    const replies = await client.option(GO, info('', 1, 2, 3, 77));
    expect(types(replies)).toEqual([INFO, INFO, INFO, INFO, ACK]);
    const data = replies.map((reply) => reply.data);
    expect(data[1]?.toString('utf8', 2)).toBe('one');
    expect(data[2]?.toString('utf8', 2)).toBe('the first');
    expect([2, 6, 10].map((at) => data[3]?.readUInt32BE(at))).toEqual([1, 4096, 32 << 20]);
  });

  test('a writable export offers all that writes, and DF only with structured replies', async () => {
    const client = clientOf();
    await client.greet();
    const flags = async () => (await client.option(OPT_INFO, info('')))[0]?.data.readUInt16BE(10);
    // Bits 0, 2, 3, 5, 6, 8, 10, 11.
    expect(await flags()).toBe(0b1101_0110_1101);
    await client.option(STRUCTURED);
    expect(await flags()).toBe(0b1101_1110_1101);
  });

  test('BLOCK_STATUS_PAYLOAD is offered with extended headers and a context', async () => {
    const client = clientOf();
    await client.greet();
    await client.option(EXTENDED);
    await client.option(SET_META, contexts('', 'base:allocation'));
    const replies = await client.option(OPT_INFO, info(''));
    expect((replies[0]?.data.readUInt16BE(10) ?? 0) >> 12).toBe(1);
  });

  test('an unknown export is ERR_UNKNOWN without information', async () => {
    const client = two();
    await client.greet();
    expect(types(await client.option(GO, info('three')))).toEqual([ERR_UNKNOWN]);
  });

  test.each([
    ['is missing', Buffer.alloc(0)],
    ['has a name past its end', Buffer.concat([u32(100), Buffer.alloc(6)])],
    ['has a name of 4 GiB', Buffer.concat([u32(0xffffffff), Buffer.alloc(6)])],
    ['has more requests than it has room', info('', 1).subarray(0, 7)],
    ['has bytes left over', Buffer.concat([info(''), Buffer.alloc(1)])],
    ['has a name longer than 4096 bytes', info('a'.repeat(4097))],
  ])('data that %s are ERR_INVALID', async (_, data) => {
    const client = clientOf();
    await client.greet();
    expect(types(await client.option(GO, data))).toEqual([ERR_INVALID]);
  });
});

describe('STRUCTURED_REPLY and EXTENDED_HEADERS', () => {
  test.each([STRUCTURED, EXTENDED])('option %i takes no data', async (type) => {
    const client = clientOf();
    await client.greet();
    expect(types(await client.option(type, Buffer.from('x')))).toEqual([ERR_INVALID]);
    expect(types(await client.option(type))).toEqual([ACK]);
  });

  test('structured replies are refused after extended headers', async () => {
    const client = clientOf();
    await client.greet();
    await client.option(EXTENDED);
    expect(types(await client.option(STRUCTURED))).toEqual([ERR_EXT_HEADER_REQD]);
  });
});

describe('metadata contexts', () => {
  const ready = async () => {
    const client = two();
    await client.greet();
    await client.option(STRUCTURED);
    return client;
  };

  test.each([
    ['no query', []],
    ['base:', ['base:']],
    ['base:allocation twice', ['base:allocation', 'base:allocation']],
  ])('LIST_META_CONTEXT of %s finds base:allocation once', async (_, queries) => {
    const client = await ready();
    const replies = await client.option(LIST_META, contexts('one', ...queries));
    expect(types(replies)).toEqual([META_CONTEXT, ACK]);
    expect(replies[0]?.data).toEqual(Buffer.concat([u32(0), Buffer.from('base:allocation')]));
  });

  test('LIST_META_CONTEXT passes over unknown names', async () => {
    const client = await ready();
    expect(types(await client.option(LIST_META, contexts('one', 'qemu:x', 'base:other')))).toEqual([ACK]);
  });

  test('SET_META_CONTEXT named twice selects it once, under one ID', async () => {
    const client = await ready();
    const replies = await client.option(SET_META, contexts('one', 'base:allocation', 'base:allocation', 'x-a:b'));
    expect(types(replies)).toEqual([META_CONTEXT, ACK]);
    expect(replies[0]?.data.toString('utf8', 4)).toBe('base:allocation');
  });

  test.each([
    ['no query', []],
    ['base:', ['base:']],
  ])('SET_META_CONTEXT of %s selects nothing', async (_, queries) => {
    const client = await ready();
    expect(types(await client.option(SET_META, contexts('one', ...queries)))).toEqual([ACK]);
  });

  test('SET_META_CONTEXT before structured replies is ERR_INVALID', async () => {
    const client = two();
    await client.greet();
    expect(types(await client.option(SET_META, contexts('one', 'base:allocation')))).toEqual([ERR_INVALID]);
  });

  test('contexts of an unknown export are ERR_UNKNOWN', async () => {
    const client = await ready();
    expect(types(await client.option(SET_META, contexts('no', 'base:allocation')))).toEqual([ERR_UNKNOWN]);
  });

  test.each([
    ['a count past its end', Buffer.concat([u32(0), u32(0xffffffff)])],
    ['a query past its end', Buffer.concat([u32(0), u32(1), u32(9)])],
    ['no count', u32(0)],
    ['bytes left over', Buffer.concat([u32(0), u32(0), u32(0)])],
  ])('%s is ERR_INVALID', async (_, data) => {
    const client = await ready();
    expect(types(await client.option(SET_META, data))).toEqual([ERR_INVALID]);
  });
});

describe('STARTTLS', () => {
  const greeted = async (mode: TlsMode, flags = 3) => {
    const client = clientOf(MiB, {}, mode);
    await client.greet(flags);
    return client;
  };

  test('is refused by policy where TLS is off, and the handshake goes on in the clear', async () => {
    const client = await greeted('off');
    expect(types(await client.option(STARTTLS))).toEqual([ERR_POLICY]);
    expect(types(await client.option(LIST))).toEqual([SERVER, ACK]);
    expect(client.secured).toEqual([]);
  });

  test.each(['on', 'require'] as const)('goes over to TLS right after its ACK, once, where TLS is %s', async (mode) => {
    const client = await greeted(mode);
    const [reply] = await client.option(STARTTLS);
    expect(reply).toEqual({ type: ACK, data: Buffer.alloc(0) });
    expect(client.secured).toEqual([18 + 20]);
    expect(types(await client.option(LIST))).toEqual([SERVER, ACK]);
    expect(types(await client.option(STARTTLS))).toEqual([ERR_INVALID]);
    expect(types(await client.option(STARTTLS, Buffer.from('data')))).toEqual([ERR_INVALID]);
    expect(types(await client.option(GO, info('')))).toEqual([INFO, ACK]);
    expect(client.session.transmitting).toBe(true);
    expect(client.secured).toHaveLength(1);
  });

  test.each(['on', 'require'] as const)('takes no data where TLS is %s, and can be asked again', async (mode) => {
    const client = await greeted(mode);
    expect(types(await client.option(STARTTLS, Buffer.from('data')))).toEqual([ERR_INVALID]);
    expect(client.secured).toEqual([]);
    expect(types(await client.option(STARTTLS))).toEqual([ACK]);
  });

  test('forgets extended headers: a context then needs structured replies again', async () => {
    const client = await greeted('on');
    await client.option(EXTENDED);
    await client.option(SET_META, contexts('', 'base:allocation'));
    await client.option(STARTTLS);
    expect(types(await client.option(SET_META, contexts('', 'base:allocation')))).toEqual([ERR_INVALID]);
    expect(types(await client.option(STRUCTURED))).toEqual([ACK]);
  });

  test('forgets the context that was selected in the clear', async () => {
    const client = await greeted('on');
    await client.option(EXTENDED);
    await client.option(SET_META, contexts('', 'base:allocation'));
    await client.option(STARTTLS);
    await client.option(EXTENDED);
    // BLOCK_STATUS_PAYLOAD is told of with a context only.
    const replies = await client.option(OPT_INFO, info(''));
    expect((replies[0]?.data.readUInt16BE(10) ?? 0) >> 12).toBe(0);
  });

  test('keeps NO_ZEROES, which is no option', async () => {
    const client = await greeted('on');
    await client.option(STARTTLS);
    client.send(optionBytes(EXPORT_NAME, Buffer.alloc(0)));
    await client.read(10);
    expect(client.waiting).toBe(0);
    expect(client.session.transmitting).toBe(true);
  });

  test.each([
    ['a whole option', optionBytes(LIST, Buffer.alloc(0))],
    ['one byte', Buffer.alloc(1)],
    ['the start of a TLS handshake', Buffer.from('160301', 'hex')],
  ])('hangs up on %s that came in the clear behind it', async (_, more) => {
    const client = await greeted('on');
    client.send(optionBytes(STARTTLS, Buffer.alloc(0)), more);
    expect(client.ended).toBe(true);
    expect(client.secured).toEqual([]);
    // The ACK, and no reply to what was slipped in.
    expect(await client.end()).toHaveLength(20);
  });

  test('of a client without fixed newstyle is refused where TLS is on, and the client dropped where it is required', async () => {
    expect(types(await (await greeted('on', 2)).option(STARTTLS))).toEqual([ERR_POLICY]);
    expect((await greeted('require', 2)).ended).toBe(true);
  });
});

describe('before a TLS that is required', () => {
  const forced = async () => {
    const client = clientOf(MiB, {}, 'require');
    await client.greet();
    return client;
  };

  test.each([LIST, 4, OPT_INFO, GO, STRUCTURED, LIST_META, SET_META, EXTENDED, 99])(
    'option %i is ERR_TLS_REQD whatever its data, and STARTTLS still works',
    async (type) => {
      const client = await forced();
      expect(types(await client.option(type))).toEqual([ERR_TLS_REQD]);
      expect(types(await client.option(type, info('')))).toEqual([ERR_TLS_REQD]);
      expect(types(await client.option(type, Buffer.alloc(100_000)))).toEqual([ERR_TLS_REQD]);
      expect(types(await client.option(STARTTLS))).toEqual([ACK]);
      const unknown = type === 4 || type === 99;
      if (unknown) expect(types(await client.option(type))).toEqual([ERR_UNSUP]);
      else expect(types(await client.option(type, info('')))).not.toContain(ERR_TLS_REQD);
    },
  );

  test('ABORT is acknowledged', async () => {
    const client = await forced();
    expect(types(await client.option(ABORT))).toEqual([ACK]);
    expect(client.ended).toBe(true);
  });

  test('EXPORT_NAME is hung up on without a word', async () => {
    const client = await forced();
    client.send(optionBytes(EXPORT_NAME, Buffer.alloc(0)));
    expect(await client.end()).toHaveLength(0);
    expect(client.session.transmitting).toBe(false);
  });
});
