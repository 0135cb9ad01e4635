import { link, lstat, readFile, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { BlockDevice } from '../../src/device/block-device.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { NbdServer } from '../../src/nbd/index.js';
import type { ServerOptions } from '../../src/nbd/server.js';
import { temporaryFolder } from '../support/temporary.js';
import { info, optionBytes, READ, request, u32, WRITE } from './raw-client.js';
import { readBytes } from './raw-tls-client.js';
import { WatchedDevice } from './rules/watched-device.js';

/** Bytes of the disk. */
const size = 64n << 20n;

async function serverAt(socketPath: string, options: ServerOptions = {}, device: BlockDevice = memoryDevice(size)) {
  const server = await NbdServer.listen([{ name: '', description: 'memory', device }], { socketPath }, options);
  onTestFinished(async () => {
    await server.close();
    await device.close();
  });
  return server;
}

const connected = (path: string) =>
  new Promise<Socket>((resolve, reject) => {
    const socket = connect({ path }, () => resolve(socket));
    socket.on('error', reject);
    onTestFinished(() => {
      socket.destroy();
    });
  });
const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()));
const hello = Buffer.concat([u32(3), optionBytes(7, info(''))]);
/** Greeting, INFO_EXPORT and ACK. */
const helloReply = 18 + 20 + 12 + 20;

test('a unix socket is for its owner alone, and gone when the server is closed', async () => {
  const path = join(await temporaryFolder(), 's');
  const server = await serverAt(path);
  const { mode } = await lstat(path);
  expect(mode & 0o777).toBe(0o600);
  await server.close();
  await expect(lstat(path)).rejects.toThrow('ENOENT');
});

test('replaces a socket on which nobody answers', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 's');
  // Node removes the name that it bound; another name of the same socket stays, as after kill -9.
  const dead = createServer().listen({ path: join(folder, 'dead') });
  await new Promise((resolve) => dead.once('listening', resolve));
  await link(join(folder, 'dead'), path);
  await new Promise((resolve) => dead.close(resolve));
  expect((await lstat(path)).isSocket()).toBe(true);
  await serverAt(path);
  await connected(path);
});

test('refuses the socket of a live server, which goes on', async () => {
  const path = join(await temporaryFolder(), 's');
  await serverAt(path);
  await expect(serverAt(path)).rejects.toMatchObject({ code: 'BUSY' });
  await connected(path);
});

test.each(['file', 'link'])('never removes a %s at its path', async (kind) => {
  const folder = await temporaryFolder();
  const path = join(folder, 's');
  await writeFile(join(folder, 'target'), 'precious');
  await (kind === 'file' ? writeFile(path, 'precious') : symlink('target', path));
  await expect(serverAt(path)).rejects.toMatchObject({ code: 'USAGE' });
  expect(await readFile(path, 'utf8')).toBe('precious');
});

test('refuses a path that is too long for a socket', async () => {
  await expect(serverAt(`/tmp/${'x'.repeat(110)}`)).rejects.toMatchObject({ code: 'USAGE' });
});

test('says who is wrong when the port is taken', async () => {
  const device = memoryDevice(0n);
  const exports = [{ name: '', description: 'memory', device }];
  const server = await NbdServer.listen(exports, { host: '127.0.0.1', port: 0 });
  onTestFinished(() => server.close());
  await expect(NbdServer.listen(exports, server.address)).rejects.toMatchObject({ code: 'BUSY' });
});

test('a client that goes away with replies outstanding harms nobody', async () => {
  const path = join(await temporaryFolder(), 's');
  await serverAt(path);
  for (let round = 0; round < 20; round++) {
    const socket = await connected(path);
    const many = Array.from({ length: 64 }, () => request({ type: READ, length: 1 << 20 }));
    await new Promise((resolve) => socket.write(Buffer.concat([hello, ...many]), resolve));
    socket.destroy();
  }
  const socket = await connected(path);
  socket.write(hello);
  const [chunk] = await new Promise<Buffer[]>((resolve) => socket.once('data', (data: Buffer) => resolve([data])));
  expect(chunk?.toString('latin1', 0, 8)).toBe('NBDMAGIC');
});

test('a client that closes its side still gets every reply', async () => {
  const path = join(await temporaryFolder(), 's');
  await serverAt(path);
  const socket = await connected(path);
  let received = 0;
  socket.on('data', (data: Buffer) => {
    received += data.length;
  });
  const many = Array.from({ length: 40 }, () => request({ type: READ, length: 2 << 20 }));
  socket.end(Buffer.concat([hello, ...many]));
  await closed(socket);
  expect(received).toBe(helloReply + 40 * (16 + (2 << 20)));
});

test('closing answers what was received, drops half a request and an idle client', async () => {
  const path = join(await temporaryFolder(), 's');
  const server = await serverAt(path);
  const idle = await connected(path);
  const busy = await connected(path);
  let received = 0;
  busy.on('data', (data: Buffer) => {
    received += data.length;
  });
  idle.resume();
  busy.write(Buffer.concat([hello, request({ type: READ, length: 1 << 20 }), request({ type: READ }).subarray(0, 9)]));
  await expect.poll(() => received).toBe(helloReply + 16 + (1 << 20));
  await Promise.all([server.close(), closed(busy), closed(idle)]);
});

test.each([
  ['on a worker thread', () => memoryDevice(size)],
  ['on the main thread', () => new WatchedDevice(size)],
])(
  'closing %s drops a write of which half has come, writes nothing of it, and does not wait for the rest',
  async (_, make) => {
    const path = join(await temporaryFolder(), 's');
    const device = make();
    // Longer than the test may take: only a server that does not wait for it comes to its end.
    const server = await serverAt(path, { grace: 600_000 }, device);
    const socket = await connected(path);
    socket.resume();
    const length = 4 << 20;
    const half = Buffer.alloc(length / 2, 2);
    const first = [request({ type: WRITE, length: 512 }), Buffer.alloc(512, 1)];
    // All but what a socket holds has been received when the last of it has left.
    const said = Buffer.concat([hello, ...first, request({ type: WRITE, offset: 512n, length }), half]);
    await new Promise((resolve) => socket.write(said, resolve));
    await expect.poll(() => socket.bytesRead).toBe(helloReply + 16);
    await Promise.all([server.close(), closed(socket)]);
    expect(socket.bytesRead).toBe(helloReply + 16);
    const found = Buffer.alloc(512 + length);
    await device.read(found, 0n);
    expect(found.equals(Buffer.concat([Buffer.alloc(512, 1), Buffer.alloc(length)]))).toBe(true);
  },
);

test('closing tells a client in the handshake when it asks, and lets go of those that ask nothing', async () => {
  const path = join(await temporaryFolder(), 's');
  const server = await serverAt(path, { grace: 600_000 });
  const [asking, idle] = [await connected(path), await connected(path)];
  await expect.poll(() => [asking.bytesRead, idle.bytesRead]).toEqual([18, 18]);
  const gone = [closed(asking), closed(idle.resume())];
  const end = server.close();
  asking.write(hello);
  const [greeting, reply] = [await readBytes(asking, 18), await readBytes(asking, 20)];
  expect(greeting.toString('latin1', 0, 8)).toBe('NBDMAGIC');
  // NBD_REP_ERR_SHUTDOWN.
  expect(reply.readUInt32BE(12)).toBe(2 ** 31 + 7);
  asking.resume();
  await Promise.all([end, ...gone]);
});

test('a client that takes no replies cannot hold up the end', async () => {
  const path = join(await temporaryFolder(), 's');
  const server = await serverAt(path, { grace: 50 });
  const socket = await connected(path);
  socket.on('error', () => {});
  socket.pause();
  const many = Array.from({ length: 64 }, () => request({ type: READ, length: 4 << 20 }));
  await new Promise((resolve) => socket.write(Buffer.concat([hello, ...many]), resolve));
  await server.close();
});

test('drops a client that does not negotiate in time', async () => {
  const path = join(await temporaryFolder(), 's');
  await serverAt(path, { handshakeTimeout: 20 });
  const socket = await connected(path);
  socket.resume();
  await closed(socket);
});

test('a client too many in the handshake takes the place of the oldest, and of no other', async () => {
  const path = join(await temporaryFolder(), 's');
  await serverAt(path, { maximumHandshakes: 2 });
  const working = await connected(path);
  working.write(hello);
  await expect.poll(() => working.bytesRead).toBe(helloReply);
  const [oldest, other] = [await connected(path), await connected(path)];
  await expect.poll(() => [oldest.bytesRead, other.bytesRead]).toEqual([18, 18]);
  const gone = closed(oldest.resume());
  const newest = await connected(path);
  newest.write(hello);
  await gone;
  await expect.poll(() => newest.bytesRead).toBe(helloReply);
  expect([working, other, newest].map(({ destroyed }) => destroyed)).toEqual([false, false, false]);
});
