import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { withLayers } from '../../../src/device/layer/stack.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { openImage } from '../../../src/image/open-image.js';
import { NbdServer } from '../../../src/nbd/index.js';
import { until } from '../../support/mounted.js';
import { needs } from '../../support/needs.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';
import { info, MiB, optionBytes, READ, request, u32, WRITE } from '../raw-client.js';

const GO = 7;
/** Flags, then GO for the export of that name. */
const hello = (name = '') => Buffer.concat([u32(3), optionBytes(GO, info(name))]);
/** Greeting, INFO_EXPORT and ACK. */
const helloReply = 18 + 20 + 12 + 20;
const simpleReply = 16;

async function serving(devices: Record<string, BlockDevice>): Promise<string> {
  const socketPath = join(await temporaryFolder(), 's');
  const exports = Object.entries(devices).map(([name, device]) => ({ name, description: 'a disk', device }));
  const server = await NbdServer.listen(exports, { socketPath });
  onTestFinished(async () => {
    await server.close();
    for (const { device } of exports) await device.close();
  });
  return socketPath;
}

/** A client that takes what comes only when asked to. */
class Client {
  readonly #socket: Socket;
  readonly closed: Promise<void>;

  constructor(path: string) {
    this.#socket = connect({ path });
    this.#socket.on('error', () => {});
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    onTestFinished(() => {
      this.#socket.destroy();
    });
  }

  send(...parts: Buffer[]): void {
    this.#socket.write(Buffer.concat(parts));
  }

  async read(size: number): Promise<Buffer> {
    let bytes: Buffer | null = null;
    await until(() => {
      bytes ??= this.#socket.read(size);
      return bytes !== null;
    });
    return bytes ?? Buffer.alloc(0);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

async function imageOf(bytes: Buffer): Promise<BlockDevice> {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, bytes);
  return await openImage(path, { access: 'write', format: 'raw' });
}

test('what a client sends along with its last option is answered after the handshake', async () => {
  const bytes = randomBytes(MiB);
  const client = new Client(await serving({ '': await imageOf(bytes) }));
  client.send(
    hello(),
    request({ type: READ, offset: 5n, length: 100 }),
    request({ type: WRITE, length: 3 }).subarray(0, 10),
  );
  await client.read(helloReply + simpleReply);
  expect((await client.read(100)).equals(bytes.subarray(5, 105))).toBe(true);
  client.send(request({ type: WRITE, length: 3 }).subarray(10), Buffer.from('abc'), request({ type: READ, length: 4 }));
  await client.read(2 * simpleReply);
  expect((await client.read(4)).toString('latin1')).toBe(`abc${bytes.toString('latin1', 3, 4)}`);
});

// Under a layer the connection stays on the main thread.
test.each([{}, { errors: { rate: 0 } }])(
  'large replies reach a client whole and in order, however slowly it takes them: %o',
  async (layers) => {
    const bytes = randomBytes(4 * MiB);
    const { device } = withLayers(await imageOf(bytes), layers);
    const client = new Client(await serving({ '': device }));
    client.send(hello());
    await client.read(helloReply);
    // Small replies between large ones, and all of them far more than the socket holds.
    const lengths = [3 * MiB, 10, 64 << 10, 4 * MiB, 1, 100_000, 2 * MiB];
    client.send(...lengths.map((length, index) => request({ type: READ, cookie: BigInt(index), length })));
    for (const [index, length] of lengths.entries()) {
      const header = await client.read(simpleReply);
      expect(header.readBigUInt64BE(8)).toBe(BigInt(index));
      for (let at = 0; at < length; at += 300_000) {
        const size = Math.min(300_000, length - at);
        expect((await client.read(size)).equals(bytes.subarray(at, at + size))).toBe(true);
        await sleep(10);
      }
    }
  },
);

test('hangs up when the file is cut short under a reply whose length was promised', async () => {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, randomBytes(8 * MiB));
  const client = new Client(await serving({ '': await openImage(path, { access: 'read', format: 'raw' }) }));
  client.send(hello());
  await client.read(helloReply);
  client.send(request({ type: READ, length: 8 * MiB }));
  await client.read(simpleReply);
  await truncate(path, 0);
  // What was on its way may still come; then the end does.
  void client.read(8 * MiB).catch(() => {});
  await client.closed;
});

test('clients of one server are spread over workers and see each other’s writes', async () => {
  const path = await serving({ '': memoryDevice(BigInt(MiB)) });
  const clients = Array.from({ length: 6 }, () => new Client(path));
  for (const client of clients) {
    client.send(hello());
    await client.read(helloReply);
  }
  for (const [index, client] of clients.entries()) {
    client.send(request({ type: WRITE, offset: BigInt(index), length: 1 }), Buffer.from([index + 1]));
    await client.read(simpleReply);
  }
  for (const client of clients) {
    client.send(request({ type: READ, length: 6 }));
    await client.read(simpleReply);
    expect([...(await client.read(6))]).toEqual([1, 2, 3, 4, 5, 6]);
  }
});

needs({ programs: ['nbdfuse', 'nbdkit'], devices: ['/dev/fuse'] })(
  'a cold disk holds up nobody else on the same thread',
  async () => {
    const folder = await temporaryFolder();
    const slow = join(folder, 'slow');
    await writeFile(slow, '');
    const fuse = spawn(
      'nbdfuse',
      ['-r', slow, '[', 'nbdkit', '--exit-with-parent', '--filter=delay', 'pattern', '8M', 'delay-read=3', ']'],
      { stdio: 'ignore' },
    );
    onTestFinished(async () => {
      const gone = new Promise((resolve) => fuse.once('exit', resolve));
      await run('fusermount3', ['-u', slow]);
      await gone;
    });
    await until(async () => (await stat(slow)).size > 0);
    const device = await openImage(slow, { access: 'read', format: 'raw', forceShare: true });
    const path = await serving({ slow: device, fast: memoryDevice(BigInt(MiB)) });
    const [waiting, ...others] = [new Client(path), ...Array.from({ length: 4 }, () => new Client(path))];
    waiting?.send(hello('slow'));
    await waiting?.read(helloReply);
    let answered = false;
    waiting?.send(request({ type: READ, length: 16 }));
    const cold = waiting?.read(simpleReply + 16).then(() => {
      answered = true;
    });
    for (const client of others) {
      client.send(hello('fast'), request({ type: READ, length: 16 }));
      await client.read(helloReply + simpleReply + 16);
    }
    expect(answered).toBe(false);
    await cold;
    expect(answered).toBe(true);
  },
);

/** A process that serves, and ends in one of several ways while a client is connected. */
async function endedBy(how: string): Promise<{ code: number | null; signal: string | null }> {
  const folder = await temporaryFolder();
  const script = `
    import { NbdServer } from ${JSON.stringify(new URL('../../../dist/src/nbd/index.js', import.meta.url).href)};
    import { memoryDevice } from ${JSON.stringify(new URL('../../../dist/src/device/memory-device.js', import.meta.url).href)};
    const device = memoryDevice(64n << 20n);
    await NbdServer.listen([{ name: '', description: 'x', device }], { socketPath: ${JSON.stringify(join(folder, 's'))} });
    process.on('SIGUSR2', () => { ${how} });
    console.log('ready');
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once('exit', (code, signal) => resolve({ code, signal })),
  );
  const ready = new Promise<'ready'>((resolve) => child.stdout.once('data', () => resolve('ready')));
  // A process that did not get so far shows how it ended instead.
  const first = await Promise.race([ready, exit]);
  if (first !== 'ready') return first;
  const client = new Client(join(folder, 's'));
  client.send(hello());
  await client.read(helloReply);
  // Replies of which nothing is taken: the worker has something to send at any moment.
  client.send(...Array.from({ length: 20 }, () => request({ type: READ, length: 32 * MiB })));
  await sleep(50);
  child.kill('SIGUSR2');
  return await exit;
}

test.each([
  ['process.exit', 'process.exit(7)', { code: 7, signal: null }],
  ['an uncaught throw', "throw new Error('on purpose')", { code: 1, signal: null }],
  ['a signal without a handler', "process.kill(process.pid, 'SIGTERM')", { code: null, signal: 'SIGTERM' }],
])('a process whose workers are busy ends at once by %s', async (_name, how, end) => {
  expect(await endedBy(how)).toEqual(end);
});

test('a closed server leaves no descriptor of a connection behind', async () => {
  const device = memoryDevice(BigInt(MiB));
  const socketPath = join(await temporaryFolder(), 's');
  const server = await NbdServer.listen([{ name: '', description: 'x', device }], { socketPath });
  const sockets = async () =>
    (await readFile('/proc/net/unix', 'utf8')).split('\n').filter((line) => line.endsWith(socketPath)).length;
  const clients = Array.from({ length: 5 }, () => new Client(socketPath));
  for (const client of clients) {
    client.send(hello());
    await client.read(helloReply);
  }
  expect(await sockets()).toBeGreaterThan(5);
  await server.close();
  await Promise.all(clients.map((client) => client.closed));
  expect(await sockets()).toBe(0);
  await device.close();
});
