import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { InputBuffer } from '../../src/nbd/input-buffer.js';
import { nightly } from '../support/needs.js';
import { processFacts } from '../support/process-facts.js';
import { type Served, served } from '../support/served.js';
import { temporaryFolder } from '../support/temporary.js';
import {
  BLOCK_STATUS,
  contexts,
  DISC,
  extended,
  FLUSH,
  info,
  MiB,
  optionBytes,
  READ,
  request,
  u32,
  WRITE,
} from './raw-client.js';

/** Bytes: what serve may take of memory, whatever clients do. */
const bound = 200e6;
const size = 64 * MiB;

/** Plain bytes go to the worker threads, what lies under a layer does not: the limits are the same. */
const sources = ['--file', '--memory', '--memory --error-rate 0'] as const;

/** A server of 64 MiB, which begin with `start`; zeros after that. */
async function serving(source: (typeof sources)[number]): Promise<Served & { start: Buffer }> {
  const start = randomBytes(MiB);
  if (source === '--file') {
    const path = join(await temporaryFolder(), 'disk');
    await writeFile(path, Buffer.concat([start, Buffer.alloc(size - MiB)]));
    return { ...(await served([source, path])), start };
  }
  const [memory = source, ...layer] = source.split(' ');
  const server = { ...(await served([memory, String(size), ...layer])), start };
  const client = await Client.connect(server.socketPath);
  await client.hello();
  client.send(request({ type: WRITE, length: MiB }), start);
  expect((await client.read(16)).readUInt32BE(4)).toBe(0);
  client.socket.destroy();
  return server;
}

/** A client of raw bytes on a real socket, which takes from it only what it is asked to read. */
class Client {
  readonly #received = new InputBuffer();
  #wake: () => void = () => {};

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      socket.pause();
      this.#wake();
    });
    socket.pause();
    // That the server hangs up on it is what some clients are here for.
    socket.on('error', () => {});
    socket.on('close', () => this.#wake());
    onTestFinished(() => {
      socket.destroy();
    });
  }

  static async connect(path: string): Promise<Client> {
    for (;;) {
      try {
        return new Client(await connected(path));
      } catch (error) {
        // So many clients wait to be accepted that the kernel takes no more.
        if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }

  send(...parts: Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  async read(length: number): Promise<Buffer> {
    await this.#until(() => this.#received.length >= length);
    return this.#received.take(length) ?? Buffer.alloc(0);
  }

  /** Reads past bytes. */
  async skip(length: number): Promise<void> {
    let left = length - this.#received.skip(length);
    while (left > 0) {
      await this.#until(() => this.#received.length > 0);
      left -= this.#received.skip(left);
    }
  }

  async #until(enough: () => boolean): Promise<void> {
    while (!enough()) {
      if (this.socket.destroyed) throw new Error('the server hung up');
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.socket.resume();
      await woken;
    }
  }

  /** As far as the transmission phase, with simple replies. */
  async hello(): Promise<void> {
    this.send(u32(3), optionBytes(7, info('')));
    // Greeting, INFO_EXPORT and ACK.
    await this.read(18 + 20 + 12 + 20);
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path }, () => {
      socket.off('error', reject);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

describe.each(sources)('serve %s', (source) => {
  test('serves 200 connections at once within 200 MB, and their descriptors are gone with them', async () => {
    const server = await serving(source);
    // What the first clients make the server open for itself stays open.
    const first = await fullHouse(server);
    expect(first).toBeLessThan(200);
    expect(await fullHouse(server)).toBeLessThanOrEqual(first);
    await server.stop();
  });

  const rounds = nightly ? 10_000 : 500;
  test(`${rounds} clients that leave at any point of the protocol leak neither memory nor descriptors`, async () => {
    const server = await serving(source);
    const scripts = [...conversations()];
    let round = 0;
    const leave = async () => {
      const script = scripts[round % scripts.length] ?? [];
      const index = Math.floor(round / scripts.length) % script.length;
      const part = script[index] ?? Buffer.alloc(0);
      // 7919 is prime, so that it comes by every byte of every part.
      const said = Buffer.concat([...script.slice(0, index), part.subarray(0, (round * 7919) % (part.length + 1))]);
      round++;
      const { socket } = await Client.connect(server.socketPath);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      if (round % 2 > 0) socket.end(said).removeAllListeners('data').resume();
      else socket.write(said, () => socket.destroy());
      await closed;
    };
    const someLeave = async (count: number) => {
      const end = round + count;
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          while (round < end) await leave();
        }),
      );
    };
    // Buffers that are kept for the next client are no leak.
    await someLeave(200);
    const descriptors = await fullHouse(server);
    const { resident } = await processFacts(server.pid);
    await someLeave(rounds);
    expect(await settledDescriptors(server.pid)).toBeLessThanOrEqual(descriptors);
    // What the collector has not come to yet varies by some 70 MB.
    expect((await processFacts(server.pid)).resident).toBeLessThan(resident + 100e6);
    const client = await Client.connect(server.socketPath);
    await client.hello();
    await server.stop();
  }, 300_000);

  test('holds back a client that takes no replies within 200 MB, serves others meanwhile, and it gets all', async () => {
    const server = await serving(source);
    const silent = await Client.connect(server.socketPath);
    await silent.hello();
    const [count, length] = [12, 32 * MiB];
    silent.send(...Array.from({ length: count }, () => request({ type: READ, length })));
    const other = await Client.connect(server.socketPath);
    await other.hello();
    let most = 0;
    for (let i = 0; i < 300; i++) {
      other.send(request({ type: READ, offset: BigInt(i * 512), length: 512 }));
      const reply = await other.read(16 + 512);
      expect(reply.subarray(16).equals(server.start.subarray(i * 512, i * 512 + 512))).toBe(true);
      most = Math.max(most, (await processFacts(server.pid)).resident);
    }
    expect(most).toBeLessThan(bound);
    for (let i = 0; i < count; i++) {
      expect((await silent.read(16)).readUInt32BE(4)).toBe(0);
      expect((await silent.read(MiB)).equals(server.start)).toBe(true);
      await silent.skip(length - MiB);
    }
    expect((await processFacts(server.pid)).resident).toBeLessThan(bound);
    await server.stop();
  });

  test('holds back a client that sends writes and takes no replies', async () => {
    const server = await serving(source);
    const silent = await Client.connect(server.socketPath);
    await silent.hello();
    // Replies of 16 bytes: more of them than a socket's buffer and the server's memory have room for.
    const batch = Buffer.concat(
      Array.from({ length: 1000 }, () =>
        Buffer.concat([request({ type: WRITE, offset: 2n ** 21n, length: 4 }), u32(1)]),
      ),
    );
    let [sent, held] = [0, false];
    while (!held && sent < 200) {
      sent++;
      held = !silent.socket.write(batch) && !(await drained(silent.socket));
    }
    expect(held).toBe(true);
    expect((await processFacts(server.pid)).resident).toBeLessThan(bound);
    await silent.skip(sent * 1000 * 16);
    await server.stop();
  });
});

/** 200 clients at once, each served with what it asks for. Returns how many descriptors are left when they are gone. */
async function fullHouse(server: Awaited<ReturnType<typeof serving>>): Promise<number> {
  const [pieces, length] = [16, 4096];
  const clients = await Promise.all(Array.from({ length: 200 }, () => Client.connect(server.socketPath)));
  await Promise.all(clients.map((client) => client.hello()));
  await Promise.all(
    clients.map(async (client, index) => {
      const offsets = Array.from({ length: pieces }, (_, i) => ((index * 31 + i * 7) % 256) * length);
      client.send(
        ...offsets.map((offset, i) => request({ type: READ, cookie: BigInt(i), offset: BigInt(offset), length })),
      );
      for (let i = 0; i < pieces; i++) {
        const reply = await client.read(16 + length);
        const offset = offsets[Number(reply.readBigUInt64BE(8))] ?? -1;
        expect(reply.subarray(16).equals(server.start.subarray(offset, offset + length))).toBe(true);
      }
    }),
  );
  const { descriptors, resident } = await processFacts(server.pid);
  expect(descriptors).toBeGreaterThanOrEqual(200);
  expect(resident).toBeLessThan(bound);
  for (const { socket } of clients) socket.destroy();
  return settledDescriptors(server.pid);
}

/** How many descriptors a process has once that number no longer changes. */
async function settledDescriptors(pid: number): Promise<number> {
  for (let before = -1; ; ) {
    const { descriptors } = await processFacts(pid);
    if (descriptors === before) return descriptors;
    before = descriptors;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** False: the server takes no more for half a second. */
function drained(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), 500);
    socket.once('drain', () => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** What clients say from the first message to the last, in each style of reply. */
function* conversations(): Generator<Buffer[]> {
  const flags = u32(3);
  const option = (type: number, data: Uint8Array = Buffer.alloc(0)) => optionBytes(type, data);
  const go = option(7, info('', 1, 2, 3));
  const status = option(10, contexts('', 'base:allocation'));
  const data = Buffer.alloc(100_000, 7);
  const ask = (header: typeof request, payload: number) => [
    header({ type: READ, length: 4096 }),
    header({ type: WRITE, flags: payload, offset: BigInt(2 * MiB), length: data.length }),
    data,
    header({ type: READ, offset: 5n, length: MiB }),
    header({ type: BLOCK_STATUS, length: size }),
    header({ type: FLUSH }),
    header({ type: DISC }),
  ];
  yield [flags, option(3), option(1), ...ask(request, 0)];
  yield [flags, option(8), option(9, contexts('')), status, go, ...ask(request, 0)];
  yield [flags, option(11), status, go, ...ask(extended, 32)];
  yield [u32(0), option(1), ...ask(request, 0)];
  yield [flags, option(99, data), option(3), option(2)];
}
