import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { DiskError } from '../../../src/error/disk-error.js';
import { NbdDevice } from '../../../src/nbd/index.js';
import { temporaryFolder } from '../../support/temporary.js';
import { u16, u32, u64 } from '../raw-client.js';

/** Servers of raw bytes, with the numbers as NBD proto.md writes them. */

const greeting = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(3)]);
const replyMagic = 0x3e889045565a9n;
const ACK = 1;
const INFO = 3;
const META_CONTEXT = 4;
const [EXTENDED_HEADERS, STRUCTURED_REPLY, SET_META_CONTEXT, GO] = [11, 8, 10, 7];

const optionReply = (option: number, type: number, data: Buffer = Buffer.alloc(0)) =>
  Buffer.concat([u64(replyMagic), u32(option), u32(type), u32(data.length), data]);
/** Size, then flags: HAS_FLAGS, FLUSH, TRIM, WRITE_ZEROES. */
const exportInfo = (size = 1n << 20n) => Buffer.concat([u16(0), u64(size), u16(1 | 4 | 32 | 64)]);
const unsupported = 2 ** 31 + 1;

/** What the server says to each option, so that structured replies with base:allocation (ID 9) are agreed on. */
const agreeable = [
  greeting,
  optionReply(EXTENDED_HEADERS, unsupported),
  optionReply(STRUCTURED_REPLY, ACK),
  optionReply(SET_META_CONTEXT, META_CONTEXT, Buffer.concat([u32(9), Buffer.from('base:allocation')])),
  optionReply(SET_META_CONTEXT, ACK),
  optionReply(GO, INFO, exportInfo()),
  optionReply(GO, ACK),
];

/** Says all of it at once, and then what `answer` makes of each request's cookie. */
async function serverOf(handshake: readonly Buffer[], answer?: (cookie: bigint, socket: Socket) => void) {
  const path = join(await temporaryFolder(), 's');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.write(Buffer.concat(handshake));
    let received = Buffer.alloc(0);
    let options = 0;
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      // Client flags, four options with their data, then requests.
      if (options === 0 && received.length >= 4) {
        received = received.subarray(4);
        options = 1;
      }
      while (options > 0 && received.subarray(0, 8).toString() === 'IHAVEOPT' && received.length >= 16) {
        const length = received.readUInt32BE(12);
        if (received.length < 16 + length) return;
        received = received.subarray(16 + length);
      }
      while (received.length >= 28 && received.readUInt32BE(0) === 0x25609513) {
        answer?.(received.readBigUInt64BE(8), socket);
        received = received.subarray(28);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return `nbd+unix:///?socket=${path}`;
}

const open = (uri: string) => NbdDevice.connect(uri, { access: 'write' });

test.each<[string, readonly Buffer[], string]>([
  ['another protocol', [Buffer.from('HTTP/1.1 400 Bad Request\r\n')], 'no NBD server'],
  ['a reply to another option', [greeting, optionReply(GO, ACK)], 'answers option 7, asked was 11'],
  ['a wrong magic number', [greeting, Buffer.alloc(20, 0x11)], 'begins a reply with'],
  [
    'a reply that is endless',
    [greeting, Buffer.concat([u64(replyMagic), u32(11), u32(1), u32(2 ** 31)])],
    'answers an option with',
  ],
  ['an export without a size', [...agreeable.slice(0, 5), optionReply(GO, ACK)], 'without its size'],
  [
    'a size past 2^63 - 1',
    [...agreeable.slice(0, 5), optionReply(GO, INFO, exportInfo(2n ** 63n)), optionReply(GO, ACK)],
    '2^63-1',
  ],
  [
    'blocks of no size',
    [
      ...agreeable.slice(0, 6),
      optionReply(GO, INFO, Buffer.concat([u16(3), u32(0), u32(0), u32(0)])),
      optionReply(GO, ACK),
    ],
    'blocks of 0',
  ],
])('a handshake with %s is an error of protocol', async (_, handshake, words) => {
  await expect(open(await serverOf(handshake))).rejects.toMatchObject({
    code: 'PROTOCOL',
    message: expect.stringContaining(words),
  });
});

test('the older handshake is refused by name', async () => {
  const older = Buffer.concat([Buffer.from('NBDMAGIC'), u64(0x420281861253n), Buffer.alloc(136)]);
  await expect(open(await serverOf([older]))).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('older'),
  });
});

test('a server that hangs up during the handshake is told so', async () => {
  const path = join(await temporaryFolder(), 's');
  const server = createServer((socket) => socket.resume().end(greeting));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(async () => {
    await new Promise((resolve) => server.close(resolve));
  });
  await expect(open(`nbd+unix:///?socket=${path}`)).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining('hung up'),
  });
});

const chunk = (cookie: bigint, type: number, payload: Buffer, flags = 1) =>
  Buffer.concat([u32(0x668e33ef), u16(flags), u16(type), u64(cookie), u32(payload.length), payload]);
const data = (offset: bigint, length: number) => Buffer.concat([u64(offset), Buffer.alloc(length, 1)]);
const hole = (offset: bigint, length: number) => Buffer.concat([u64(offset), u32(length)]);
const [NONE, OFFSET_DATA, OFFSET_HOLE, BLOCK_STATUS] = [0, 1, 2, 5];

test.each<[string, (cookie: bigint) => Buffer]>([
  ['that was not made', (cookie) => chunk(cookie + 1n, NONE, Buffer.alloc(0))],
  ['by a wrong magic number', () => Buffer.alloc(20, 0x22)],
  ['by data before the range', (cookie) => chunk(cookie, OFFSET_DATA, data(4095n, 100))],
  ['by data past the range', (cookie) => chunk(cookie, OFFSET_DATA, data(4096n, 101))],
  ['by data that is missing', (cookie) => chunk(cookie, OFFSET_DATA, data(4096n, 99))],
  ['by nothing at all', (cookie) => chunk(cookie, NONE, Buffer.alloc(0))],
  [
    'by the same data twice',
    (cookie) =>
      Buffer.concat([chunk(cookie, OFFSET_DATA, data(4096n, 100), 0), chunk(cookie, OFFSET_DATA, data(4096n, 1))]),
  ],
  [
    'by a hole over data',
    (cookie) =>
      Buffer.concat([chunk(cookie, OFFSET_DATA, data(4096n, 100), 0), chunk(cookie, OFFSET_HOLE, hole(4100n, 4))]),
  ],
  ['by an empty hole', (cookie) => chunk(cookie, OFFSET_HOLE, hole(4096n, 0))],
  ['by data without any', (cookie) => chunk(cookie, OFFSET_DATA, u64(4096n))],
  ['by a simple reply', (cookie) => Buffer.concat([u32(0x67446698), u32(0), u64(cookie), Buffer.alloc(100)])],
  ['by a block status', (cookie) => chunk(cookie, BLOCK_STATUS, Buffer.concat([u32(9), u32(100), u32(0)]))],
  ['by an unknown chunk', (cookie) => chunk(cookie, 77, Buffer.alloc(3))],
  ['by an error without a number', (cookie) => chunk(cookie, 32769, Buffer.alloc(3))],
])('a read answered %s is an error of protocol, and the end of the connection', async (_, reply) => {
  const uri = await serverOf(agreeable, (cookie, socket) => socket.write(reply(cookie)));
  const device = await open(uri);
  await expect(device.read(new Uint8Array(100), 4096n)).rejects.toMatchObject({ code: 'PROTOCOL' });
  await expect(device.read(new Uint8Array(100), 4096n)).rejects.toMatchObject({ code: 'PROTOCOL' });
  await device.close();
});

test.each<[string, Buffer]>([
  ['of another context', Buffer.concat([u32(8), u32(100), u32(0)])],
  ['without a descriptor', u32(9)],
  ['with half a descriptor', Buffer.concat([u32(9), u32(100), u16(0)])],
  ['with an empty descriptor', Buffer.concat([u32(9), u32(0), u32(0)])],
])('a block status %s is an error of protocol', async (_, payload) => {
  const uri = await serverOf(agreeable, (cookie, socket) => socket.write(chunk(cookie, BLOCK_STATUS, payload)));
  const device = await open(uri);
  await expect(device.extents().next()).rejects.toMatchObject({ code: 'PROTOCOL' });
  await device.close();
});

test('data and holes in any order, in pieces of any size, become what was read', async () => {
  const uri = await serverOf(agreeable, (cookie, socket) => {
    const reply = Buffer.concat([
      chunk(cookie, OFFSET_HOLE, hole(4136n, 60), 0),
      chunk(cookie, OFFSET_DATA, data(4096n, 40), 0),
      chunk(cookie, NONE, Buffer.alloc(0)),
    ]);
    for (let at = 0; at < reply.length; at += 7) socket.write(reply.subarray(at, at + 7));
  });
  await using device = await open(uri);
  const bytes = new Uint8Array(100).fill(9);
  await device.read(bytes, 4096n);
  expect(bytes).toEqual(new Uint8Array(100).fill(1, 0, 40));
});

test('nothing but errors of ours comes of any bytes from a server', async () => {
  const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
  const begin = fc.integer({ min: 0, max: agreeable.length }).map((count) => Buffer.concat(agreeable.slice(0, count)));
  await fc.assert(
    fc.asyncProperty(begin, noise, async (start, bytes) => {
      const path = join(await temporaryFolder(), 's');
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.resume().end(Buffer.concat([start, bytes]));
      });
      await new Promise<void>((resolve) => server.listen(path, resolve));
      try {
        const device = await open(`nbd+unix:///?socket=${path}`);
        await device.read(new Uint8Array(100), 0n).finally(() => device.close());
      } catch (error) {
        expect(error).toBeInstanceOf(DiskError);
      } finally {
        await new Promise((resolve) => server.close(resolve));
      }
    }),
    { numRuns: 60 },
  );
});
