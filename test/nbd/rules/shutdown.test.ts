import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  BLOCK_STATUS,
  CACHE,
  clientOf,
  contexts,
  DISC,
  ESHUTDOWN,
  FLUSH,
  info,
  MiB,
  READ,
  request,
  TRIM,
  WRITE,
  WRITE_ZEROES,
} from '../raw-client.js';
import { ask, outcome } from './ask.js';
import { WatchedDevice } from './watched-device.js';

// Rules of NBD proto.md on a server that is being shut down: "Termination of the session during option haggling" and
// "Terminating the transmission phase".
const ERR_SHUTDOWN = 2 ** 31 + 7;
const ACK = 1;
const [EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED, LIST_META, SET_META, EXTENDED] = [
  1, 2, 3, 5, 6, 7, 8, 9, 10, 11,
];
const styles = ['simple', 'structured', 'extended'] as const;

describe('in the handshake', () => {
  test.each(['off', 'on', 'require'] as const)('every option is ERR_SHUTDOWN, with TLS %s', async (tls) => {
    const client = clientOf(MiB, {}, tls);
    await client.greet();
    client.session.shutDown();
    for (const [type, data] of [
      [LIST, Buffer.alloc(0)],
      [STARTTLS, Buffer.alloc(0)],
      [INFO, info('')],
      [GO, info('')],
      [STRUCTURED, Buffer.alloc(0)],
      [LIST_META, contexts('')],
      [SET_META, contexts('', 'base:allocation')],
      [EXTENDED, Buffer.alloc(0)],
      [99, Buffer.alloc(100_000)],
    ] as const) {
      expect(await client.option(type, data)).toMatchObject([{ type: ERR_SHUTDOWN }]);
    }
    expect(await client.option(ABORT)).toMatchObject([{ type: ACK }]);
    expect(await client.end()).toHaveLength(0);
  });

  test('an option of which half had come is ERR_SHUTDOWN, and one of which nothing had', async () => {
    for (const said of [0, 10, 20]) {
      const client = clientOf();
      await client.greet();
      const option = Buffer.concat([Buffer.from('IHAVEOPT'), Buffer.from([0, 0, 0, GO, 0, 0, 0, 6]), info('')]);
      client.send(option.subarray(0, said));
      client.session.shutDown();
      client.send(option.subarray(said));
      expect((await client.read(20)).readUInt32BE(12)).toBe(ERR_SHUTDOWN);
    }
  });

  test('EXPORT_NAME, which cannot be refused, ends the session', async () => {
    const client = clientOf();
    await client.greet();
    client.session.shutDown();
    client.send(Buffer.from('IHAVEOPT'), Buffer.from([0, 0, 0, EXPORT_NAME, 0, 0, 0, 0]));
    expect(await client.end()).toHaveLength(0);
  });
});

describe.each(styles)('in transmission with %s replies', (style) => {
  /** A client with a write that runs until it is released. */
  const busy = async () => {
    const device = new WatchedDevice(BigInt(MiB));
    const client = clientOf(MiB, { device });
    await client.go(style);
    let release = () => {};
    device.meanwhile = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    ask(client, style, { type: WRITE, cookie: 1n, length: 512 });
    await turn();
    return { client, device, release: () => release() };
  };

  test('what runs is carried out, what comes meanwhile is ESHUTDOWN, then the session ends', async () => {
    const { client, device, release } = await busy();
    client.session.shutDown();
    for (const type of [READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS, 99]) {
      ask(client, style, { type, cookie: 2n, length: type === FLUSH ? 0 : 4096 });
      expect({ type, error: await outcome(client, style, 2n) }).toEqual({ type, error: ESHUTDOWN });
    }
    expect(client.ended).toBe(false);
    release();
    expect(await outcome(client, style, 1n)).toBe(0);
    expect(await client.end()).toHaveLength(0);
    expect(device.asked.map(({ operation }) => operation)).toEqual(['write']);
  });

  test('a client that has seen ESHUTDOWN may say goodbye at once', async () => {
    const { client, release } = await busy();
    client.session.shutDown();
    ask(client, style, { type: DISC });
    release();
    expect(await outcome(client, style, 1n)).toBe(0);
    expect(await client.end()).toHaveLength(0);
  });

  test('the session of an idle client ends at once', async () => {
    const client = clientOf();
    await client.go(style);
    client.session.shutDown();
    expect(client.ended).toBe(true);
  });
});

test('a write of which half had come is ESHUTDOWN when its rest comes, and nothing of it is written', async () => {
  const device = new WatchedDevice(BigInt(MiB));
  const client = clientOf(MiB, { device });
  await client.go();
  let release = () => {};
  device.meanwhile = () =>
    new Promise((resolve) => {
      release = resolve;
    });
  const half = Buffer.alloc(100_000, 1);
  client.send(
    request({ type: READ, cookie: 1n, length: 1 }),
    request({ type: WRITE, cookie: 2n, length: 200_000 }),
    half,
  );
  client.session.shutDown();
  client.send(half, request({ type: READ, cookie: 3n, length: 1 }));
  expect(await client.simple()).toMatchObject({ cookie: 2n, error: ESHUTDOWN });
  expect(await client.simple()).toMatchObject({ cookie: 3n, error: ESHUTDOWN });
  release();
  expect(await client.simple(1)).toMatchObject({ cookie: 1n, error: 0 });
  await client.end();
  expect(device.asked.map(({ operation }) => operation)).toEqual(['read']);
});

test('requests that were received, and waited for room, are carried out', async () => {
  const client = clientOf(64 * MiB);
  await client.go();
  client.taking = false;
  // Room is for 33 MiB.
  const cookies = [0n, 1n, 2n, 3n, 4n, 5n];
  client.send(...cookies.map((cookie) => request({ type: READ, cookie, length: 8 * MiB })));
  expect(client.session.full).toBe(true);
  client.session.shutDown();
  client.taking = true;
  client.take();
  const answered: bigint[] = [];
  for (let left = cookies.length; left > 0; left--) {
    const { error, cookie } = await client.simple(8 * MiB);
    expect(error).toBe(0);
    answered.push(cookie);
  }
  expect(answered.sort()).toEqual(cookies);
  expect(await client.end()).toHaveLength(0);
});
