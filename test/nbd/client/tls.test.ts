import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { type Address, loadCertificates, loadPskFile, NbdDevice, NbdServer } from '../../../src/nbd/index.js';
import { certificateFolders, makeCertificates } from '../../support/certificates.js';
import { until } from '../../support/mounted.js';
import { needs } from '../../support/needs.js';
import { temporaryFolder } from '../../support/temporary.js';
import { u16, u32, u64 } from '../raw-client.js';

const size = 1 << 20;

async function pskFile(folder: string, name = 'keys.psk', user = 'alice') {
  const path = join(folder, name);
  await writeFile(path, `${user}:${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  return path;
}

/** Our own server under TLS. */
async function listen(tls: Parameters<typeof NbdServer.listen>[2], address: Address) {
  const device = memoryDevice(BigInt(size));
  const server = await NbdServer.listen([{ name: '', description: 'a disk', device }], address, tls);
  onTestFinished(async () => {
    await server.close();
    await device.close();
  });
  return server;
}

/** Somebody else's server, as soon as its socket is there. */
async function serveWith(program: string, args: readonly string[], uri: string) {
  const child = spawn(program, args, { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  onTestFinished(async () => {
    child.kill();
    await ended;
  });
  await until(async () => {
    const device = await NbdDevice.connect(uri, { access: 'read' }).catch(() => undefined);
    await device?.close();
    return device !== undefined;
  });
}

/** Writes at several places, and reads it back over a connection of its own. */
async function roundTrip(uri: string) {
  const bytes = randomBytes(300_000);
  await using writer = await NbdDevice.connect(uri, { access: 'write' });
  await Promise.all(
    [0, 300_000, 600_000].map((at) => writer.write(bytes.subarray(at / 10_000), BigInt(at), { fua: true })),
  );
  await using reader = await NbdDevice.connect(uri, { access: 'read' });
  for (const at of [0, 300_000, 600_000]) {
    const back = Buffer.alloc(300_000 - at / 10_000);
    await reader.read(back, BigInt(at));
    expect(back.equals(bytes.subarray(at / 10_000))).toBe(true);
  }
}

const refusal = (uri: string) =>
  NbdDevice.connect(uri, { access: 'read' }).then(
    async (device) => {
      // In TLS 1.3 a server may tell only then that it does not know us.
      try {
        await device.read(Buffer.alloc(512), 0n);
      } finally {
        await device.close();
      }
      throw new Error(`${uri} was served`);
    },
    (error: unknown) => error,
  );

describe('pre-shared keys', () => {
  test('carry a disk between our own client and server', async () => {
    const folder = await temporaryFolder();
    const file = await pskFile(folder);
    const socketPath = join(folder, 's');
    await listen({ tls: { mode: 'require', credentials: await loadPskFile(file) } }, { socketPath });
    await roundTrip(`nbds+unix://alice@/?socket=${socketPath}&tls-psk-file=${file}`);
  });

  test('that differ are refused, and so is a user without a key', async () => {
    const folder = await temporaryFolder();
    const [file, other] = [await pskFile(folder), await pskFile(folder, 'other.psk')];
    const socketPath = join(folder, 's');
    await listen({ tls: { mode: 'require', credentials: await loadPskFile(file) } }, { socketPath });
    const uri = (user: string, keys: string) => `nbds+unix://${user}@/?socket=${socketPath}&tls-psk-file=${keys}`;
    expect(await refusal(uri('alice', other))).toMatchObject({ code: 'IO', facts: { reason: 'tls' } });
    expect(await refusal(uri('bob', file))).toMatchObject({
      code: 'NOT_FOUND',
      message: `${file}: holds no key of bob: name the user in the URI: nbds://USER@…`,
    });
    expect(await refusal(uri('alice', join(folder, 'none')))).toMatchObject({ code: 'NOT_FOUND' });
  });

  for (const program of ['nbdkit', 'qemu-nbd'] as const) {
    needs({ programs: [program] })(`carry a disk of ${program}'s`, async () => {
      const folder = await temporaryFolder();
      const file = await pskFile(folder);
      const [socket, disk] = [join(folder, 's'), join(folder, 'disk')];
      await writeFile(disk, Buffer.alloc(size));
      const args =
        program === 'nbdkit'
          ? ['-f', '-U', socket, '--tls=require', `--tls-psk=${file}`, 'file', disk]
          : // It wants that file name in its folder.
            ['-f', 'raw', '-t', '-e', '4', '-k', socket, '--tls-creds=tls0', '--object']
              .concat(`tls-creds-psk,id=tls0,dir=${folder},endpoint=server`)
              .concat(disk);
      const uri = `nbds+unix://alice@/?socket=${socket}&tls-psk-file=${file}`;
      await serveWith(program, args, uri);
      await roundTrip(uri);
    });
  }
});

describe('certificates', () => {
  const it = needs({ programs: ['openssl'] });
  it('have to be in the name of the host, or in the one that the URI tells', async () => {
    const { known, nobody, stranger } = await certificateFolders();
    const credentials = await loadCertificates(known);
    const { address } = await listen({ tls: { mode: 'require', credentials } }, { host: '127.0.0.1', port: 0 });
    const port = 'port' in address ? address.port : 0;
    const uri = (host: string, rest = '') => `nbds://${host}:${port}/?tls-certificates=${nobody}${rest}`;
    await roundTrip(uri('localhost'));
    await roundTrip(uri('127.0.0.1'));
    await roundTrip(uri('127.0.0.1', '&tls-hostname=localhost'));
    expect(await refusal(uri('localhost', '&tls-hostname=example.com'))).toMatchObject({
      code: 'IO',
      message: expect.stringContaining('example.com'),
      facts: { reason: 'tls' },
    });
    await roundTrip(uri('localhost', '&tls-hostname=example.com&tls-verify-peer=0'));
    await makeCertificates(stranger);
    const unknown = `nbds://localhost:${port}/?tls-certificates=${stranger}`;
    expect(await refusal(unknown)).toMatchObject({ code: 'IO', facts: { reason: 'tls' } });
    await roundTrip(`${unknown}&tls-verify-peer=0`);
    // No authority that everybody trusts has signed it.
    expect(await refusal(`nbds://localhost:${port}/`)).toMatchObject({ code: 'IO', facts: { reason: 'tls' } });
  });

  it('of any name will do on a unix socket', async () => {
    const { folder, known, nobody } = await certificateFolders();
    const socketPath = join(folder, 's');
    await listen({ tls: { mode: 'require', credentials: await loadCertificates(known) } }, { socketPath });
    await roundTrip(`nbds+unix:///?socket=${socketPath}&tls-certificates=${nobody}`);
  });

  it('of clients that the server does not know are refused in words', async () => {
    const { folder, known, nobody } = await certificateFolders();
    const socketPath = join(folder, 's');
    const credentials = await loadCertificates(known, { verifyPeer: true });
    await listen({ tls: { mode: 'require', credentials } }, { socketPath });
    await roundTrip(`nbds+unix:///?socket=${socketPath}&tls-certificates=${known}`);
    expect(await refusal(`nbds+unix:///?socket=${socketPath}&tls-certificates=${nobody}`)).toMatchObject({
      code: 'IO',
    });
  });

  it('that are missing or not what they should be are named', async () => {
    const { known } = await certificateFolders();
    const uri = `nbds://localhost:1/?tls-certificates=${known}`;
    await writeFile(join(known, 'client-key.pem'), 'no PEM');
    expect(await refusal(uri)).toMatchObject({ code: 'USAGE', message: expect.stringContaining('client-key.pem') });
    await rm(join(known, 'ca-cert.pem'));
    expect(await refusal(uri)).toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('ca-cert.pem') });
  });

  for (const program of ['nbdkit', 'qemu-nbd'] as const) {
    needs({ programs: [program, 'openssl'] })(`carry a disk of ${program}'s, and prove who we are`, async () => {
      const { folder, known } = await certificateFolders();
      const [socket, disk] = [join(folder, 's'), join(folder, 'disk')];
      await writeFile(disk, Buffer.alloc(size));
      const args =
        program === 'nbdkit'
          ? ['-f', '-U', socket, '--tls=require', `--tls-certificates=${known}`, '--tls-verify-peer', 'file', disk]
          : ['-f', 'raw', '-t', '-e', '4', '-k', socket, '--tls-creds=tls0', '--object']
              .concat(`tls-creds-x509,id=tls0,dir=${known},endpoint=server,verify-peer=yes`)
              .concat(disk);
      const uri = `nbds+unix:///?socket=${socket}&tls-certificates=${known}`;
      await serveWith(program, args, uri);
      await roundTrip(uri);
    });
  }
});

describe('a server', () => {
  test('without TLS is never used in the clear where TLS was asked for', async () => {
    const folder = await temporaryFolder();
    const file = await pskFile(folder);
    const socketPath = join(folder, 's');
    await listen({}, { socketPath });
    expect(await refusal(`nbds+unix://alice@/?socket=${socketPath}&tls-psk-file=${file}`)).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('the server has no TLS'),
      facts: { reason: 'tls' },
    });
  });

  test('that insists on TLS is told apart from one that fails, and the URI to use is named', async () => {
    const folder = await temporaryFolder();
    const socketPath = join(folder, 's');
    await listen({ tls: { mode: 'require', credentials: await loadPskFile(await pskFile(folder)) } }, { socketPath });
    expect(await refusal(`nbd+unix:///?socket=${socketPath}`)).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining(`wants TLS: use nbds+unix:///?socket=${socketPath}`),
    });
  });

  const ack = Buffer.concat([u64(0x3e889045565a9n), u32(5), u32(1), u32(0)]);
  const greeting = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(3)]);
  const liar = async (...words: Buffer[]) => {
    const folder = await temporaryFolder();
    const file = await pskFile(folder);
    const path = join(folder, 's');
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write(Buffer.concat([greeting, ...words]));
      socket.resume();
      onTestFinished(() => void socket.destroy());
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    onTestFinished(() => void server.close());
    return `nbds+unix://alice@/?socket=${path}&tls-psk-file=${file}`;
  };

  test('that goes on in the clear after STARTTLS is not believed', async () => {
    const uri = await liar(ack, Buffer.from('anything'));
    expect(await refusal(uri)).toMatchObject({ code: 'PROTOCOL', message: expect.stringContaining('in the clear') });
  });

  test('that says nothing in the TLS handshake is left when the signal fires', async () => {
    const uri = await liar(ack);
    const abort = new AbortController();
    const connecting = NbdDevice.connect(uri, { access: 'read', signal: abort.signal });
    setTimeout(() => abort.abort(), 50);
    await expect(connecting).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
