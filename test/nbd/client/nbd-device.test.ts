import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { DelayLayer } from '../../../src/device/layer/delay.js';
import { ErrorLayer, type ErrorOptions } from '../../../src/device/layer/error.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { NbdDevice, NbdServer } from '../../../src/nbd/index.js';
import { describeBlockDevice } from '../../conformance/block-device.js';
import { until } from '../../support/mounted.js';
import { needs } from '../../support/needs.js';
import { temporaryFolder } from '../../support/temporary.js';

/** A device that has been to a server and back; closing it closes all. */
async function remote(device: BlockDevice, name = '', readOnly = false): Promise<NbdDevice> {
  const socketPath = join(await temporaryFolder(), 's');
  const server = await NbdServer.listen([{ name, description: 'a disk', device, readOnly }], { socketPath });
  onTestFinished(async () => {
    await server.close();
    await device.close();
  });
  return await NbdDevice.connect(server.uri, { access: readOnly ? 'read' : 'write' });
}

describeBlockDevice({
  name: 'NbdDevice on memory',
  open: (size) => remote(memoryDevice(size), 'ä b/c'),
  openReadOnly: (size) => remote(memoryDevice(size), '', true),
  room: 40n << 20n,
});

const broken = (errors: ErrorOptions) => remote(new ErrorLayer(memoryDevice(1n << 20n), errors));

test('errors of the server arrive with their number and the request in words', async () => {
  await using device = await broken({ rate: 1, errno: 'ENOSPC' });
  await expect(device.write(new Uint8Array(512), 4096n)).rejects.toMatchObject({
    code: 'IO',
    errno: 'ENOSPC',
    message: expect.stringMatching(/^write of 512 bytes at byte 0x1000 of nbd\+unix:/),
  });
  await expect(device.read(new Uint8Array(512), 0n)).rejects.toMatchObject({ errno: 'ENOSPC' });
  // The connection goes on.
  await expect(device.flush()).rejects.toMatchObject({ errno: 'ENOSPC' });
});

test('a request that is cancelled leaves its memory alone, and the others go on', async () => {
  const below = memoryDevice(1n << 20n);
  await below.write(new Uint8Array(1000).fill(7), 0n);
  await using device = await remote(new DelayLayer(below, { read: 100 }));
  const stop = new AbortController();
  const [cancelled, kept] = [new Uint8Array(1000), new Uint8Array(1000)];
  const reading = expect(device.read(cancelled, 0n, { signal: stop.signal })).rejects.toMatchObject({
    code: 'CANCELLED',
  });
  const other = device.read(kept, 0n);
  stop.abort();
  await reading;
  await other;
  expect(kept.every((byte) => byte === 7)).toBe(true);
  expect(cancelled.every((byte) => byte === 0)).toBe(true);
});

test('many requests at once share several connections and each gets its own bytes', async () => {
  const bytes = randomBytes(4 << 20);
  const below = memoryDevice(BigInt(bytes.length));
  await below.write(bytes, 0n);
  await using device = await remote(below);
  await Promise.all(
    Array.from({ length: 400 }, async (_, i) => {
      const part = new Uint8Array(10_000);
      await device.read(part, BigInt(i * 10_000));
      expect(Buffer.compare(part, bytes.subarray(i * 10_000, (i + 1) * 10_000))).toBe(0);
    }),
  );
});

test('an export that is not there, and a read-only one that is to be written, are refused in words', async () => {
  const socketPath = join(await temporaryFolder(), 's');
  const device = memoryDevice(1n);
  const server = await NbdServer.listen([{ name: 'a', description: 'x', device, readOnly: true }], { socketPath });
  onTestFinished(async () => {
    await server.close();
    await device.close();
  });
  const uri = `nbd+unix:///b?socket=${socketPath}`;
  await expect(NbdDevice.connect(uri, { access: 'read' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining('no export "b"'),
  });
  await expect(NbdDevice.connect(server.uri, { access: 'write' })).rejects.toMatchObject({ code: 'READ_ONLY' });
  await expect(NbdDevice.connect('nbd+unix:///?socket=/none', { access: 'read' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    errno: 'ENOENT',
  });
});

test('a server that goes away fails what waits, and what comes after', async () => {
  const socketPath = join(await temporaryFolder(), 's');
  const disk = new DelayLayer(memoryDevice(1n << 20n), { read: 60_000 });
  const server = await NbdServer.listen([{ name: '', description: 'x', device: disk }], { socketPath }, { grace: 10 });
  const device = await NbdDevice.connect(server.uri, { access: 'read' });
  const waiting = expect(device.read(new Uint8Array(1), 0n)).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining('hung up'),
  });
  await server.close();
  await waiting;
  await expect(device.read(new Uint8Array(1), 0n)).rejects.toMatchObject({ code: 'IO' });
  await device.close();
  await disk.close();
});

/** Runs a server of somebody else's until the test ends. */
async function foreign(program: string, args: readonly string[], socket: string): Promise<void> {
  const child = spawn(program, args, { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  onTestFinished(async () => {
    child.kill();
    await ended;
  });
  const uri = `nbd+unix:///?socket=${socket}`;
  await until(async () => {
    const device = await NbdDevice.connect(uri, { access: 'read' }).catch(() => undefined);
    await device?.close();
    return device !== undefined;
  });
}

const servers = {
  nbdkit: (socket: string, path: string) => ['-f', '-U', socket, 'file', path],
  'nbdkit without structured replies': (socket: string, path: string) => ['-f', '-U', socket, '--no-sr', 'file', path],
  'qemu-nbd': (socket: string, path: string) => ['-t', '-e', '8', '-f', 'raw', '--discard=unmap', '-k', socket, path],
} as const;

describe.each(Object.entries(servers))('on %s', (name, args) => {
  const [program = ''] = name.split(' ');
  const it = needs({ programs: program === 'nbdkit' ? ['nbdkit'] : ['qemu-nbd'] });

  it('reads, writes, zeroes, trims and flushes a file as the file itself says', async () => {
    const folder = await temporaryFolder();
    const [path, socket] = [join(folder, 'a.img'), join(folder, 's')];
    const model = randomBytes(9 << 20);
    await writeFile(path, model);
    await truncate(path, 64 << 20);
    await foreign(program, args(socket, path), socket);
    await using device = await NbdDevice.connect(`nbd+unix:///?socket=${socket}`, { access: 'write' });
    expect(device.facts.size).toBe(64n << 20n);
    const found = new Uint8Array(9 << 20);
    await device.read(found, 0n);
    expect(Buffer.compare(found, model)).toBe(0);
    const written = randomBytes(100_000);
    await device.write(written, 12_800n, { fua: true });
    written.copy(model, 12_800);
    await device.zero(1n << 20n, 1n << 20n, { mayTrim: true });
    model.fill(0, 1 << 20, 2 << 20);
    await device.trim(40n << 20n, 1n << 20n);
    await device.flush();
    expect((await readFile(path)).subarray(0, model.length).equals(model)).toBe(true);
    if (!device.facts.extents) return;
    for await (const { offset, length, zero } of device.extents()) {
      const part = (await readFile(path)).subarray(Number(offset), Number(offset + length));
      if (zero) expect(part.every((byte) => byte === 0)).toBe(true);
    }
  });
});

needs({ programs: ['nbdkit'] })('reads over TCP from nbdkit, of 2^63 - 1 bytes the last', async () => {
  const folder = await temporaryFolder();
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const child = spawn('nbdkit', ['-f', '-i', '127.0.0.1', '-p', String(port), 'memory', '9223372036854775807'], {
    stdio: 'ignore',
    cwd: folder,
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  onTestFinished(async () => {
    child.kill();
    await ended;
  });
  let device: NbdDevice | undefined;
  await until(async () => {
    device = await NbdDevice.connect(`nbd://127.0.0.1:${port}`, { access: 'write' }).catch(() => undefined);
    return device !== undefined;
  });
  if (device === undefined) throw new Error('no connection');
  await using disk = device;
  await disk.write(Uint8Array.of(5), 2n ** 63n - 2n);
  const last = new Uint8Array(1);
  await disk.read(last, 2n ** 63n - 2n);
  expect([disk.facts.size, last[0]]).toEqual([2n ** 63n - 1n, 5]);
});
