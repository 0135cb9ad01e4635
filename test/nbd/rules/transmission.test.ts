import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { DiskError } from '../../../src/error/disk-error.js';
import {
  BLOCK_STATUS,
  CACHE,
  clientOf,
  contexts,
  DISC,
  EINVAL,
  ENOSPC,
  ENOTSUP,
  EOVERFLOW,
  EPERM,
  extended,
  FLUSH,
  info,
  MiB,
  READ,
  request,
  type Style,
  TRIM,
  u32,
  u64,
  WRITE,
  WRITE_ZEROES,
} from '../raw-client.js';
import { ask, outcome } from './ask.js';
import { type Operation, WatchedDevice } from './watched-device.js';

// Rules of NBD proto.md (extended headers: its branch extension-ext-header) on a server in the transmission phase.
const [FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN] = [1, 2, 4, 8, 16, 32];
const DONE = 1;
const [OFFSET_DATA, ERROR] = [1, 0x8001];
const EIO = 5;
const ENOMEM = 12;
const styles = ['simple', 'structured', 'extended'] as const;

const watched = async (style: Style = 'simple', ...facts: ConstructorParameters<typeof WatchedDevice> | []) => {
  const [size = BigInt(MiB), changes = {}] = facts;
  const device = new WatchedDevice(size, changes);
  const client = clientOf(size, { device });
  await client.go(style);
  return { client, device };
};

describe.each(styles)('with %s replies', (style) => {
  test('every command is answered once, with its cookie taken for what it is, and failures too', async () => {
    const { client, device } = await watched(style);
    const commands = [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, ...(style === 'simple' ? [] : [BLOCK_STATUS])];
    for (const failing of [false, true]) {
      device.meanwhile = () =>
        failing ? Promise.reject(new DiskError('IO', 'no', { errno: 'EIO' })) : Promise.resolve();
      for (const [index, type] of commands.entries()) {
        const cookie = [0n, 2n ** 64n - 1n, 0x67446698n << 32n][index % 3] ?? 1n;
        const [offset, length] = type === FLUSH ? [0n, 0] : [65_536n, 40_000];
        ask(client, style, { type, cookie, offset, length });
        const error = await outcome(client, style, cookie, offset, type === READ ? length : 0);
        // A cache is a hint, which need not ask the device.
        if (type !== CACHE) expect({ type, error }).toEqual({ type, error: failing ? EIO : 0 });
      }
    }
    ask(client, style, { type: DISC });
    expect(await client.end()).toHaveLength(0);
  });

  test('FUA is taken on every command', async () => {
    const { client } = await watched(style);
    for (const type of [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, ...(style === 'simple' ? [] : [BLOCK_STATUS])]) {
      const length = type === FLUSH ? 0 : 4096;
      ask(client, style, { type, flags: FUA, cookie: BigInt(type), length });
      expect(await outcome(client, style, BigInt(type), 0n, type === READ ? length : 0)).toBe(0);
    }
    ask(client, style, { type: DISC, flags: FUA });
    await client.end();
  });

  test('commands without a payload may work on more than the largest payload', async () => {
    const size = 2n ** 40n;
    const { client } = await watched(style, size);
    const length = style === 'extended' ? size : 2 ** 32 - 1;
    for (const type of [TRIM, WRITE_ZEROES, CACHE, ...(style === 'simple' ? [] : [BLOCK_STATUS])]) {
      ask(client, style, { type, cookie: BigInt(type), length });
      expect(await outcome(client, style, BigInt(type))).toBe(0);
    }
  });

  test('requests of length 0 do not disconnect', async () => {
    const { client } = await watched(style);
    for (const type of [READ, WRITE, TRIM, CACHE, WRITE_ZEROES, ...(style === 'simple' ? [] : [BLOCK_STATUS])]) {
      ask(client, style, { type, cookie: BigInt(type), offset: 5n });
      const error = await outcome(client, style, BigInt(type), 5n);
      expect([0, EINVAL]).toContain(error);
    }
    ask(client, style, { type: READ, length: 1 });
    expect(await outcome(client, style, 7n, 0n, 1)).toBe(0);
  });

  test.each([
    ['READ', READ, EINVAL],
    ['WRITE', WRITE, ENOSPC],
    ['TRIM', TRIM, EINVAL],
    ['CACHE', CACHE, EINVAL],
    ['WRITE_ZEROES', WRITE_ZEROES, ENOSPC],
  ])('%s past the end is refused, and touches nothing', async (_, type, error) => {
    const { client, device } = await watched(style);
    for (const offset of [BigInt(MiB) - 1n, BigInt(MiB), 2n ** 63n, 2n ** 64n - 1n]) {
      ask(client, style, { type, offset, length: 2 });
      expect(await outcome(client, style, 7n, offset)).toBe(error);
    }
    expect(device.asked).toEqual([]);
  });

  test.each([
    ['a command that nobody knows', { type: 8, length: 1 }],
    ['a command of all bits', { type: 0xffff, length: 1 }],
    ['a flag that nobody knows', { type: TRIM, flags: 1 << 15, length: 1 }],
    ['DF on a trim', { type: TRIM, flags: DF, length: 1 }],
    ['REQ_ONE on a read', { type: READ, flags: REQ_ONE, length: 1 }],
    ['FAST_ZERO on a write', { type: WRITE, flags: FAST_ZERO, length: 1 }],
    ['NO_HOLE on a flush', { type: FLUSH, flags: NO_HOLE }],
  ])('%s is EINVAL, and the next request answered', async (_, fields) => {
    const { client, device } = await watched(style);
    ask(client, style, { ...fields, cookie: 1n });
    expect(await outcome(client, style, 1n)).toBe(EINVAL);
    expect(device.asked).toEqual([]);
    ask(client, style, { type: READ, cookie: 2n, length: 512 });
    expect(await outcome(client, style, 2n, 0n, 512)).toBe(0);
  });

  test('DISC lets what runs come to its end, is not answered, and nothing after it is read', async () => {
    const { client, device } = await watched(style);
    let release = () => {};
    device.meanwhile = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    ask(client, style, { type: WRITE, cookie: 1n, length: 100 });
    ask(client, style, { type: DISC });
    ask(client, style, { type: WRITE, cookie: 2n, length: 100 });
    await turn();
    expect(client.ended).toBe(false);
    release();
    expect(await outcome(client, style, 1n)).toBe(0);
    expect(await client.end()).toHaveLength(0);
    expect(device.asked).toHaveLength(1);
  });
});

describe('"Ordering of messages and writes"', () => {
  test('a flush is answered when the device has flushed, after every write that was answered before it', async () => {
    const { client, device } = await watched();
    let release = () => {};
    device.meanwhile = ({ operation }) =>
      operation === 'flush'
        ? new Promise((resolve) => {
            release = resolve;
          })
        : Promise.resolve();
    for (const type of [WRITE, WRITE_ZEROES, TRIM]) {
      ask(client, 'simple', { type, length: 512 });
      await client.simple();
    }
    client.send(request({ type: FLUSH, cookie: 50n }), request({ type: READ, cookie: 51n, length: 1 }));
    // The read passes the flush, which waits.
    expect((await client.simple(1)).cookie).toBe(51n);
    expect(device.asked.map(({ operation }) => operation)).toEqual(['write', 'zero', 'trim', 'flush', 'read']);
    release();
    expect(await client.simple()).toMatchObject({ cookie: 50n, error: 0 });
  });

  const changing: [string, number, Operation][] = [
    ['WRITE', WRITE, 'write'],
    ['WRITE_ZEROES', WRITE_ZEROES, 'zero'],
    ['TRIM', TRIM, 'trim'],
  ];

  test.each(changing)('%s with FUA is passed on to a device that has it', async (_, type, operation) => {
    const { client, device } = await watched('simple', BigInt(MiB), { fua: 'native' });
    ask(client, 'simple', { type, flags: FUA, length: 512 });
    expect((await client.simple()).error).toBe(0);
    expect(device.asked).toMatchObject([{ operation, options: { fua: true } }]);
  });

  test.each(changing)('%s with FUA is answered after a flush where the device has none', async (_, type, operation) => {
    const { client, device } = await watched('simple', BigInt(MiB), { fua: 'emulated' });
    device.meanwhile = (asked) =>
      asked.operation === 'flush' ? Promise.reject(new DiskError('IO', 'lost', { errno: 'EIO' })) : Promise.resolve();
    ask(client, 'simple', { type, flags: FUA, length: 512 });
    expect((await client.simple()).error).toBe(EIO);
    device.meanwhile = () => Promise.resolve();
    ask(client, 'simple', { type, flags: FUA, length: 512 });
    expect((await client.simple()).error).toBe(0);
    expect(device.asked.map((asked) => asked.operation)).toEqual([operation, 'flush', operation, 'flush']);
  });

  test('FUA that was not offered is EINVAL', async () => {
    const client = clientOf(MiB, { readOnly: true });
    await client.go();
    client.send(request({ type: READ, flags: FUA, length: 1 }));
    expect((await client.simple()).error).toBe(EINVAL);
  });

  test('what one connection has written and flushed, another reads', async () => {
    const device = new WatchedDevice(BigInt(MiB));
    const [first, second] = [clientOf(MiB, { device }), clientOf(MiB, { device })];
    await Promise.all([first.go(), second.go()]);
    first.send(request({ type: WRITE, length: 3 }), Buffer.from('abc'), request({ type: FLUSH }));
    await first.simple();
    await first.simple();
    second.send(request({ type: READ, length: 3 }));
    expect((await second.simple(3)).data.toString()).toBe('abc');
  });
});

describe('"Structured reply chunk message"', () => {
  test.each([
    ['a flag that nobody knows', { flags: 1 << 9, offset: 0n, length: 1 }],
    ['a range past the end', { flags: 0, offset: 64n << 20n, length: 1 }],
    ['more than can be sent', { flags: 0, offset: 0n, length: 33 * MiB }],
  ])('a read that is refused for %s is answered by a chunk', async (_, fields) => {
    const { client } = await watched('structured', 64n << 20n);
    client.send(request({ type: READ, ...fields }));
    expect(await client.chunk()).toMatchObject({ flags: DONE, type: ERROR });
  });

  test.each(['structured', 'extended'] as const)(
    'a %s read that fails has an error, and no chunk after it',
    async (style) => {
      const { client, device } = await watched(style);
      ask(client, style, { type: WRITE, offset: 0n, length: 200_000 });
      await outcome(client, style, 7n);
      device.meanwhile = ({ operation }) =>
        operation === 'read' ? Promise.reject(new DiskError('IO', 'bad sector', { errno: 'EIO' })) : Promise.resolve();
      for (const flags of [0, DF]) {
        ask(client, style, { type: READ, flags, length: 300_000 });
        expect(await outcome(client, style, 7n)).toBe(EIO);
      }
      device.meanwhile = () => Promise.resolve();
      ask(client, style, { type: READ, length: 100 });
      const chunk = style === 'structured' ? await client.chunk() : await client.extendedChunk();
      expect(chunk).toMatchObject({ type: OFFSET_DATA, flags: DONE });
    },
  );
});

describe('"Error values"', () => {
  test.each([
    ['EPERM', EPERM],
    ['EACCES', EPERM],
    ['EROFS', EPERM],
    ['EIO', EIO],
    ['ENOMEM', ENOMEM],
    ['EINVAL', EINVAL],
    ['ENOSPC', ENOSPC],
    ['EDQUOT', ENOSPC],
    ['EFBIG', ENOSPC],
    ['EOVERFLOW', EIO],
    ['EBADF', EIO],
    ['ENXIO', EIO],
  ])('%s of the device is %i on the wire', async (errno, expected) => {
    const { client, device } = await watched();
    device.meanwhile = () => Promise.reject(new DiskError('IO', 'no', { errno }));
    ask(client, 'simple', { type: WRITE, length: 1 });
    expect((await client.simple()).error).toBe(expected);
    ask(client, 'simple', { type: READ, length: 1 });
    expect((await client.simple(1)).error).toBe(expected);
  });

  test.each(styles)(
    'whatever would change a read-only export is EPERM with %s replies, with FUA and without',
    async (style) => {
      const device = new WatchedDevice(BigInt(MiB));
      const client = clientOf(MiB, { device, readOnly: true });
      await client.go(style);
      for (const type of [WRITE, TRIM, WRITE_ZEROES]) {
        for (const flags of [0, FUA, ...(type === WRITE_ZEROES ? [NO_HOLE, FUA | NO_HOLE] : [])]) {
          ask(client, style, { type, flags, length: 512 });
          expect({ type, flags, error: await outcome(client, style, 7n) }).toEqual({ type, flags, error: EPERM });
        }
      }
      ask(client, style, { type: READ, cookie: 8n, length: 512 });
      expect(await outcome(client, style, 8n, 0n, 512)).toBe(0);
      expect(device.asked.every(({ operation }) => operation === 'read')).toBe(true);
    },
  );

  test('an error of any other kind is EIO', async () => {
    const { client, device } = await watched();
    device.meanwhile = () => Promise.reject(new Error('a bug'));
    ask(client, 'simple', { type: READ, length: 1 });
    expect((await client.simple(1)).error).toBe(EIO);
  });

  test.each(['structured', 'extended'] as const)('a message of a %s error names no file of the host', async (style) => {
    const { client, device } = await watched(style);
    device.meanwhile = () => Promise.reject(new DiskError('IO', '/srv/secret.img: broken', { errno: 'EIO' }));
    ask(client, style, { type: READ, length: 1 });
    const { data } = style === 'structured' ? await client.chunk() : await client.extendedChunk();
    expect(data.readUInt16BE(4)).toBe(data.length - 6);
    expect(data.toString('utf8', 6)).not.toContain('secret');
  });

  test('EOVERFLOW is for reads with structured replies: a write of more than can be sent is EINVAL', async () => {
    const { client } = await watched('structured', 64n * BigInt(MiB));
    client.send(request({ type: READ, length: (32 << 20) + 1 }));
    expect((await client.chunk()).data.readUInt32BE(0)).toBe(EOVERFLOW);
    client.send(request({ type: WRITE, length: (32 << 20) + 1 }), Buffer.alloc((32 << 20) + 1));
    expect((await client.chunk()).data.readUInt32BE(0)).toBe(EINVAL);
  });
});

describe('NBD_CMD_WRITE_ZEROES', () => {
  test('NO_HOLE keeps the room, and its absence gives it back', async () => {
    const { client, device } = await watched();
    for (const flags of [NO_HOLE, 0]) {
      ask(client, 'simple', { type: WRITE_ZEROES, flags, length: 4096 });
      expect((await client.simple()).error).toBe(0);
    }
    expect(device.asked.map(({ options }) => options.mayTrim)).toEqual([false, true]);
  });

  test('FAST_ZERO fails with ENOTSUP at once where zeroing is writing, and leaves the bytes alone', async () => {
    const { client, device } = await watched('simple', BigInt(MiB), { zero: 'emulated', fastZero: false });
    ask(client, 'simple', { type: WRITE, length: 4096 });
    await client.simple();
    ask(client, 'simple', { type: WRITE_ZEROES, flags: FAST_ZERO, length: MiB });
    expect((await client.simple()).error).toBe(ENOTSUP);
    expect(device.asked.map(({ operation }) => operation)).toEqual(['write']);
    client.send(request({ type: READ, length: 4096 }));
    expect((await client.simple(4096)).data).toEqual(Buffer.alloc(4096, 0x55));
    // Without the flag it is never ENOTSUP.
    ask(client, 'simple', { type: WRITE_ZEROES, length: MiB });
    expect((await client.simple()).error).toBe(0);
  });
});

describe('extended headers', () => {
  test.each([
    ['a read', READ, 100, EINVAL],
    ['a flush', FLUSH, 8, EINVAL],
    ['a cache', CACHE, 70_000, EINVAL],
    ['zeroing', WRITE_ZEROES, 100, EINVAL],
    ['a command that nobody knows', 300, 4096, EINVAL],
    ['block status without an ID', BLOCK_STATUS, 8, EINVAL],
    ['block status with half an ID', BLOCK_STATUS, 14, EINVAL],
    ['block status of less than a length', BLOCK_STATUS, 3, EINVAL],
  ])('the payload of %s is read past, and refused', async (_, type, length, error) => {
    const { client } = await watched('extended');
    // What the payload says looks like requests, and must not be taken for any.
    client.send(extended({ type, flags: PAYLOAD_LEN, length }), Buffer.alloc(length, extended({ type: DISC })));
    expect(await outcome(client, 'extended', 7n)).toBe(error);
    client.send(extended({ type: READ, cookie: 8n, length: 1 }));
    expect(await outcome(client, 'extended', 8n)).toBe(0);
  });

  test('block status with a payload is EINVAL without a context, and the payload is read past', async () => {
    const client = clientOf();
    await client.go('extended', '', false);
    client.send(extended({ type: BLOCK_STATUS, flags: PAYLOAD_LEN, length: 12 }), u64(4096n), u32(1));
    expect(await outcome(client, 'extended', 7n)).toBe(EINVAL);
    client.send(extended({ type: READ, cookie: 8n, length: 1 }));
    expect(await outcome(client, 'extended', 8n)).toBe(0);
  });

  test.each([
    ['past the end', 1n, BigInt(MiB)],
    ['of length 0', 0n, 0n],
    ['of length 2^64 - 1', 0n, 2n ** 64n - 1n],
  ])('block status with a payload for a range %s is EINVAL', async (_, offset, length) => {
    const client = clientOf();
    await client.greet();
    await client.option(11);
    const [context] = await client.option(10, contexts('', 'base:allocation'));
    await client.option(7, info(''));
    const id = context?.data.subarray(0, 4) ?? Buffer.alloc(4);
    client.send(extended({ type: BLOCK_STATUS, flags: PAYLOAD_LEN, offset, length: 12 }), u64(length), id);
    expect(await outcome(client, 'extended', 7n, offset)).toBe(EINVAL);
    client.send(extended({ type: BLOCK_STATUS, flags: PAYLOAD_LEN, length: 12 }), u64(512n), id);
    expect(await outcome(client, 'extended', 7n)).toBe(0);
  });

  test.each([
    ['a read', READ, EINVAL],
    ['a trim', TRIM, EINVAL],
    ['zeroing', WRITE_ZEROES, ENOSPC],
    ['a cache', CACHE, EINVAL],
    ['block status', BLOCK_STATUS, EINVAL],
  ])('%s of 2^64 - 1 bytes is refused, and the next request answered', async (_, type, error) => {
    const { client } = await watched('extended');
    client.send(extended({ type, offset: 1n, length: 2n ** 64n - 1n }));
    expect(await outcome(client, 'extended', 7n, 1n)).toBe(error);
    client.send(extended({ type: READ, cookie: 8n, length: 1 }));
    expect(await outcome(client, 'extended', 8n)).toBe(0);
  });
});
