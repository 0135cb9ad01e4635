import { describe, expect, test } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import {
  BLOCK_STATUS,
  CACHE,
  clientOf,
  contexts,
  DISC,
  EINVAL,
  ENOSPC,
  EOVERFLOW,
  extended,
  FLUSH,
  info,
  MiB,
  RawClient,
  READ,
  request,
  TRIM,
  u32,
  u64,
  WRITE,
  WRITE_ZEROES,
} from './raw-client.js';

// Numbers and rules: NBD proto.md, "Transmission phase"; extended headers: its branch extension-ext-header.
const [FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN] = [1, 2, 4, 8, 16, 32];
const DONE = 1;
const [NONE, OFFSET_DATA, OFFSET_HOLE, STATUS, STATUS_EXT, ERROR] = [0, 1, 2, 5, 6, 0x8001];
const simple = async (size: number | bigint = MiB) => {
  const client = clientOf(size);
  await client.go();
  return client;
};
const structured = async (size: number | bigint = MiB) => {
  const client = clientOf(size);
  await client.go('structured');
  return client;
};
const pattern = (size: number) => Buffer.from(Array.from({ length: size }, (_, i) => (i * 31 + 7) % 251));

describe('simple replies', () => {
  test('a read gives back what was written, with the cookies of each request', async () => {
    const client = await simple();
    const data = pattern(5000);
    client.send(request({ type: WRITE, cookie: 0xfedcba9876543210n, offset: 123n, length: 5000 }), data);
    expect(await client.simple()).toMatchObject({ error: 0, cookie: 0xfedcba9876543210n });
    client.send(request({ type: READ, cookie: 9n, offset: 123n, length: 5000 }));
    const reply = await client.simple(5000);
    expect(reply.cookie).toBe(9n);
    expect(reply.data.equals(data)).toBe(true);
  });

  test('requests survive any chunking', async () => {
    const client = await simple();
    const data = pattern(70_000);
    const all = Buffer.concat([request({ type: WRITE, length: data.length }), data, request({ type: DISC })]);
    for (let at = 0; at < all.length; at += 997) client.send(all.subarray(at, at + 997));
    expect(await client.simple()).toMatchObject({ error: 0 });
    await client.end();
  });

  test.each([
    ['a read past the end', { type: READ, offset: BigInt(MiB), length: 1 }, EINVAL],
    ['a read at 2^64 - 1', { type: READ, offset: 2n ** 64n - 1n, length: 1 }, EINVAL],
    ['a read of more than 32 MiB', { type: READ, length: 33 << 20 }, EINVAL],
    ['a trim past the end', { type: TRIM, offset: 1n, length: MiB }, EINVAL],
    ['zeroes past the end', { type: WRITE_ZEROES, offset: 1n, length: MiB }, ENOSPC],
    ['a cache past the end', { type: CACHE, offset: 1n, length: MiB }, EINVAL],
    ['a flush with a length', { type: FLUSH, length: 1 }, EINVAL],
    ['a flush with an offset', { type: FLUSH, offset: 1n }, EINVAL],
    ['block status without a context', { type: BLOCK_STATUS, length: 512 }, EINVAL],
    ['an unknown command', { type: 77 }, EINVAL],
    ['an unknown flag', { type: READ, flags: 1 << 12, length: 1 }, EINVAL],
    ['DF without structured replies', { type: READ, flags: DF, length: 1 }, EINVAL],
    ['NO_HOLE on a trim', { type: TRIM, flags: NO_HOLE, length: 1 }, EINVAL],
    ['a flag on a cache', { type: CACHE, flags: REQ_ONE, length: 1 }, EINVAL],
  ])('%s is refused, and the next request answered', async (_, refused, error) => {
    const client = await simple();
    client.send(request({ ...refused, cookie: 3n }), request({ type: READ, cookie: 4n, length: 1 }));
    expect(await client.simple()).toMatchObject({ error, cookie: 3n });
    expect(await client.simple(1)).toMatchObject({ error: 0, cookie: 4n });
  });

  test.each([
    ['past the end is ENOSPC', { offset: BigInt(MiB) - 9n, length: 10 }, ENOSPC],
    ['of more than 32 MiB is EINVAL', { length: (32 << 20) + 1 }, EINVAL],
    ['with PAYLOAD_LEN in a compact header is EINVAL', { flags: PAYLOAD_LEN, length: 70_000 }, EINVAL],
    ['with an unknown flag is EINVAL', { flags: 1 << 9, length: 10 }, EINVAL],
  ])('a write %s, and its payload is read past', async (_, refused, error) => {
    const client = await simple();
    client.send(request({ type: WRITE, ...refused }));
    // What the payload says looks like requests, and must not be taken for any.
    const disconnect = request({ type: DISC });
    for (let left = refused.length; left > 0; left -= MiB) {
      client.send(Buffer.alloc(Math.min(left, MiB), disconnect));
    }
    expect(await client.simple()).toMatchObject({ error });
    client.send(request({ type: READ, length: 1 }));
    expect((await client.simple(1)).error).toBe(0);
  });

  test.each([READ, WRITE, TRIM, WRITE_ZEROES, CACHE, FLUSH])('command %i of length 0 succeeds', async (type) => {
    const client = await simple();
    client.send(request({ type }));
    expect((await client.simple()).error).toBe(0);
  });

  test.each([
    ['FUA', WRITE, FUA],
    ['FUA', WRITE_ZEROES, FUA],
    ['FUA', TRIM, FUA],
    ['FUA', READ, FUA],
    ['NO_HOLE', WRITE_ZEROES, NO_HOLE],
  ])('%s is taken on command %i', async (_, type, flags) => {
    const client = await simple();
    client.send(request({ type, flags, length: 4096 }), type === WRITE ? Buffer.alloc(4096) : Buffer.alloc(0));
    expect((await client.simple(type === READ ? 4096 : 0)).error).toBe(0);
  });

  test('zeroes and trims read as zeros', async () => {
    const client = await simple();
    client.send(request({ type: WRITE, length: 20_000 }), Buffer.alloc(20_000, 5));
    await client.simple();
    client.send(request({ type: WRITE_ZEROES, offset: 1n, length: 9999 }));
    await client.simple();
    client.send(request({ type: WRITE_ZEROES, flags: FAST_ZERO, offset: 10_000n, length: 5000 }));
    await client.simple();
    client.send(request({ type: READ, length: 20_000 }));
    const { data } = await client.simple(20_000);
    expect(data.equals(Buffer.concat([Buffer.alloc(1, 5), Buffer.alloc(14_999), Buffer.alloc(5000, 5)]))).toBe(true);
  });

  test('DISC answers what is outstanding, then ends', async () => {
    const client = await simple();
    for (let i = 0; i < 50; i++) client.send(request({ type: READ, cookie: BigInt(i), length: 300_000 }));
    client.send(request({ type: DISC }), request({ type: READ, length: 1 }));
    expect((await client.end()).length).toBe(50 * 300_016);
  });

  test('a wrong magic number ends the session, after what came before is answered', async () => {
    const client = await simple();
    client.send(request({ type: READ, length: 10 }), Buffer.alloc(28, 1), request({ type: READ, length: 10 }));
    expect((await client.end()).length).toBe(26);
  });

  test('a client that says no more still gets its replies; half a request is dropped', async () => {
    const client = await simple();
    client.send(request({ type: READ, length: 300_000 }), request({ type: WRITE, length: 100_000 }), Buffer.alloc(9));
    client.session.finish();
    expect((await client.end()).length).toBe(300_016);
  });

  test('the last byte below 2^63 is written and read', async () => {
    const client = await simple(2n ** 63n - 1n);
    const offset = 2n ** 63n - 2n;
    client.send(request({ type: WRITE, offset, length: 1 }), Buffer.from('x'));
    expect((await client.simple()).error).toBe(0);
    client.send(request({ type: READ, offset, length: 1 }));
    expect((await client.simple(1)).data.toString()).toBe('x');
    client.send(request({ type: WRITE, offset, length: 2 }), Buffer.from('xy'));
    expect((await client.simple()).error).toBe(ENOSPC);
  });
});

describe('a client that takes no replies', () => {
  test('is held back, with bounded memory, and gets all in the end', async () => {
    const client = await simple(64 * MiB);
    client.taking = false;
    const one = request({ type: READ, length: 4 * MiB });
    let sent = 0;
    while (!client.session.full && sent < 100) {
      client.send(one);
      sent++;
    }
    expect(client.session.full).toBe(true);
    expect(sent).toBeLessThan(12);
    await expect.poll(() => client.waiting).toBe((sent - 1) * (4 * MiB + 16));
    client.taking = true;
    client.take();
    await client.read(sent * (4 * MiB + 16));
    expect(client.session.full).toBe(false);
  });

  test('is held back with requests that have no data, too', async () => {
    const client = await simple();
    client.taking = false;
    let sent = 0;
    for (; !client.session.full && sent < 100_000; sent++) client.send(request({ type: TRIM, length: 1 }));
    expect(sent).toBeLessThan(10_000);
  });
});

describe('structured replies', () => {
  test('a short read is one chunk of data', async () => {
    const client = await structured();
    client.send(request({ type: WRITE, offset: 10n, length: 100 }), pattern(100));
    await client.simple();
    client.send(request({ type: READ, cookie: 5n, offset: 10n, length: 100 }));
    const { flags, type, cookie, data } = await client.chunk();
    expect({ flags, type, cookie }).toEqual({ flags: DONE, type: OFFSET_DATA, cookie: 5n });
    expect(data.equals(Buffer.concat([u64(10n), pattern(100)]))).toBe(true);
  });

  test('a read of length 0 has no content chunk', async () => {
    const client = await structured();
    client.send(request({ type: READ }));
    expect(await client.chunk()).toMatchObject({ flags: DONE, type: NONE });
  });

  test('a read sends holes as holes', async () => {
    const client = await structured();
    client.send(request({ type: WRITE, offset: 65_536n, length: 4096 }), Buffer.alloc(4096, 1));
    await client.simple();
    client.send(request({ type: READ, offset: 512n, length: 200_000 }));
    const first = await client.chunk();
    expect(first).toMatchObject({ flags: 0, type: OFFSET_HOLE });
    expect(first.data).toEqual(Buffer.concat([u64(512n), u32(65_024)]));
    const second = await client.chunk();
    expect(second).toMatchObject({ flags: 0, type: OFFSET_DATA });
    expect(second.data).toEqual(Buffer.concat([u64(65_536n), Buffer.alloc(4096, 1)]));
    const third = await client.chunk();
    expect(third).toMatchObject({ flags: DONE, type: OFFSET_HOLE });
    expect(third.data).toEqual(Buffer.concat([u64(69_632n), u32(130_880)]));
  });

  test('DF keeps a read in one chunk', async () => {
    const client = await structured();
    client.send(request({ type: READ, flags: DF, length: 200_000 }));
    expect(await client.chunk()).toMatchObject({ flags: DONE, type: OFFSET_DATA, data: Buffer.alloc(200_008) });
  });

  test.each([
    ['EINVAL past the end', { offset: 64n << 20n, length: 1 }, EINVAL],
    ['EOVERFLOW past 32 MiB', { offset: 0n, length: (32 << 20) + 1 }, EOVERFLOW],
  ])('a read is %s', async (_, refused, error) => {
    const client = await structured(64 * MiB);
    client.send(request({ type: READ, ...refused }));
    const { flags, type, data } = await client.chunk();
    expect({ flags, type, error: data.readUInt32BE(0) }).toEqual({ flags: DONE, type: ERROR, error });
    expect(data.readUInt16BE(4)).toBe(data.length - 6);
  });
});

describe('block status', () => {
  const written = async (style: 'structured' | 'extended') => {
    const client = clientOf(MiB);
    await client.go(style);
    const write = { type: WRITE, offset: 65_536n, length: 4096 };
    if (style === 'structured') {
      client.send(request(write), Buffer.alloc(4096, 1));
      await client.simple();
    } else {
      client.send(extended({ ...write, flags: PAYLOAD_LEN }), Buffer.alloc(4096, 1));
      await client.extendedChunk();
    }
    return client;
  };

  test('tells data and holes of the range', async () => {
    const client = await written('structured');
    client.send(request({ type: BLOCK_STATUS, offset: 4096n, length: 100_000 }));
    const { flags, type, data } = await client.chunk();
    expect({ flags, type }).toEqual({ flags: DONE, type: STATUS });
    const numbers = Array.from({ length: data.length / 4 - 1 }, (_, i) => data.readUInt32BE(4 + i * 4));
    expect(numbers).toEqual([61_440, 3, 4096, 0, 34_464, 3]);
  });

  test('REQ_ONE tells one extent, inside the range', async () => {
    const client = await written('structured');
    client.send(request({ type: BLOCK_STATUS, flags: REQ_ONE, offset: 65_536n, length: 1000 }));
    const { data } = await client.chunk();
    expect(data.subarray(4)).toEqual(Buffer.concat([u32(1000), u32(0)]));
  });

  test.each([
    ['length 0', { length: 0 }],
    ['a range past the end', { offset: 1n, length: MiB }],
  ])('refuses %s', async (_, refused) => {
    const client = await written('structured');
    client.send(request({ type: BLOCK_STATUS, ...refused }));
    const { type, data } = await client.chunk();
    expect({ type, error: data.readUInt32BE(0) }).toEqual({ type: ERROR, error: EINVAL });
  });

  test.each([
    ['after a failed SET_META_CONTEXT', contexts('none', 'base:allocation')],
    ['after a SET_META_CONTEXT of nothing', contexts('')],
    ['after broken data', u32(0xffffffff)],
  ])('is refused %s: the earlier contexts are gone', async (_, data) => {
    const client = clientOf();
    await client.greet();
    await client.option(8);
    await client.option(10, contexts('', 'base:allocation'));
    await client.option(10, data);
    await client.option(7, info(''));
    client.send(request({ type: BLOCK_STATUS, length: 512 }));
    expect((await client.chunk()).data.readUInt32BE(0)).toBe(EINVAL);
  });

  test('is refused when the context was selected for another export', async () => {
    const device = memoryDevice(BigInt(MiB));
    const client = new RawClient(['a', 'b'].map((name) => ({ name, description: name, device })));
    await client.greet();
    await client.option(8);
    await client.option(10, contexts('a', 'base:allocation'));
    await client.option(7, info('b'));
    client.send(request({ type: BLOCK_STATUS, length: 512 }));
    expect((await client.chunk()).data.readUInt32BE(0)).toBe(EINVAL);
  });

  test('with extended headers has 64-bit lengths: one request maps 2^63 - 4096 bytes', async () => {
    const client = clientOf(2n ** 63n - 1n);
    await client.go('extended');
    const length = 2n ** 63n - 4096n;
    client.send(extended({ type: BLOCK_STATUS, length }));
    const { type, data } = await client.extendedChunk();
    expect(type).toBe(STATUS_EXT);
    expect(data.subarray(4)).toEqual(Buffer.concat([u32(1), u64(length), u64(3n)]));
  });

  test('with a payload answers for the contexts that it names', async () => {
    const client = await written('extended');
    client.send(extended({ type: BLOCK_STATUS, length: 100_000 }));
    const id = (await client.extendedChunk()).data.readUInt32BE(0);
    const payload = (...ids: number[]) => Buffer.concat([u64(65_536n), ...ids.map(u32)]);
    for (const [ids, expected] of [
      [[id], STATUS_EXT],
      [[id + 1], ERROR],
      [[id, id], ERROR],
      [[], ERROR],
    ] as const) {
      const bytes = payload(...ids);
      client.send(extended({ type: BLOCK_STATUS, flags: PAYLOAD_LEN, length: bytes.length }), bytes);
      expect((await client.extendedChunk()).type).toBe(expected);
    }
  });
});

describe('extended headers', () => {
  const ready = async () => {
    const client = clientOf();
    await client.go('extended');
    return client;
  };

  test('every reply has the cookie and the offset of its request', async () => {
    const client = await ready();
    client.send(extended({ type: WRITE, flags: PAYLOAD_LEN, cookie: 8n, offset: 5n, length: 3 }), Buffer.from('abc'));
    expect(await client.extendedChunk()).toMatchObject({ flags: DONE, type: NONE, cookie: 8n, offset: 5n });
    client.send(extended({ type: READ, cookie: 9n, offset: 5n, length: 3 }));
    const reply = await client.extendedChunk();
    expect(reply).toMatchObject({ flags: DONE, type: OFFSET_DATA, cookie: 9n, offset: 5n });
    expect(reply.data).toEqual(Buffer.concat([u64(5n), Buffer.from('abc')]));
  });

  test('a write without PAYLOAD_LEN is EINVAL, and nothing follows it', async () => {
    const client = await ready();
    client.send(extended({ type: WRITE, length: 3 }), extended({ type: READ, cookie: 2n, length: 1 }));
    expect((await client.extendedChunk()).data.readUInt32BE(0)).toBe(EINVAL);
    expect(await client.extendedChunk()).toMatchObject({ cookie: 2n, type: OFFSET_DATA });
  });

  test('a payload that a command does not take is read past and refused', async () => {
    const client = await ready();
    client.send(extended({ type: TRIM, flags: PAYLOAD_LEN, length: 100 }), Buffer.alloc(100, 0x21));
    expect((await client.extendedChunk()).data.readUInt32BE(0)).toBe(EINVAL);
    client.send(extended({ type: FLUSH }));
    expect((await client.extendedChunk()).type).toBe(NONE);
  });

  test('a payload past 32 MiB ends the session', async () => {
    const client = await ready();
    client.send(extended({ type: WRITE, flags: PAYLOAD_LEN, length: 2n ** 40n }));
    expect(client.ended).toBe(true);
  });

  test('a compact header ends the session', async () => {
    const client = await ready();
    client.send(request({ type: READ, length: 1 }), Buffer.alloc(4));
    expect(client.ended).toBe(true);
  });
});
