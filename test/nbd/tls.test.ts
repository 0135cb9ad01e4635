import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import { loadCertificates, loadPskFile, NbdServer, type ServerOptions } from '../../src/nbd/index.js';
import { makeCertificates, revokeClient } from '../support/certificates.js';
import { needs } from '../support/needs.js';
import { temporaryFolder } from '../support/temporary.js';
import { info, MiB, optionBytes, READ, request, u16, u32, WRITE } from './raw-client.js';
import {
  acknowledged,
  connectPlain,
  connectSecure,
  readBytes,
  readToEnd,
  secureOver,
  starttls,
} from './raw-tls-client.js';

const alice = randomBytes(32);
const go = optionBytes(7, info(''));
/** INFO_EXPORT and ACK. */
const goReply = 20 + 12 + 20;

type Serving = Omit<ServerOptions, 'tls'> & { mode?: 'on' | 'require' };

async function listen(credentials: Awaited<ReturnType<typeof loadPskFile>>, folder: string, options: Serving) {
  const { mode = 'require', ...rest } = options;
  const path = join(folder, 'socket');
  const device = memoryDevice(64n << 20n);
  const exports = [{ name: '', description: 'memory', device }];
  const server = await NbdServer.listen(exports, { socketPath: path }, { ...rest, tls: { mode, credentials } });
  onTestFinished(async () => {
    await server.close();
    await device.close();
  });
  return { server, device, path };
}

/** A server with pre-shared keys, and what alice needs. */
async function withKeys(options: Serving = {}) {
  const folder = await temporaryFolder();
  const file = join(folder, 'keys.psk');
  await writeFile(file, `alice:${alice.toString('hex')}\n`, { mode: 0o600 });
  return { ...(await listen(await loadPskFile(file), folder, options)), client: asUser('alice', alice) };
}

const forwardSecret = 'ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384';
function asUser(identity: string, psk: Buffer, ciphers = forwardSecret): ConnectionOptions {
  // The identity of the server is its knowledge of the key.
  return {
    pskCallback: () => ({ identity, psk }),
    ciphers: `TLS_AES_128_GCM_SHA256:${ciphers}`,
    checkServerIdentity: () => undefined,
  };
}

async function withCertificates(verifyPeer: boolean, prepare?: (folder: string) => Promise<void>) {
  const folder = await temporaryFolder();
  await makeCertificates(folder);
  await prepare?.(folder);
  const read = (name: string) => readFile(join(folder, name));
  const client = { cert: await read('client-cert.pem'), key: await read('client-key.pem') };
  return { ...(await listen(await loadCertificates(folder, { verifyPeer }), folder, {})), client };
}

/** Whether the server serves such a client. With TLS 1.3 a client learns only afterwards that it was turned away. */
async function isServed(path: string, options: ConnectionOptions): Promise<boolean> {
  try {
    const secure = await connectSecure(path, options);
    secure.write(go);
    return (await readBytes(secure, goReply)).length === goReply;
  } catch {
    return false;
  }
}

describe('a connection under TLS', () => {
  test('serves what was asked for after the client has closed its side, then says goodbye', async () => {
    const { path, client } = await withKeys();
    const secure = await connectSecure(path, client);
    const many = Array.from({ length: 20 }, () => request({ type: READ, length: 2 * MiB }));
    secure.end(Buffer.concat([go, ...many]));
    const goodbye = vi.fn();
    secure.once('end', goodbye);
    expect(await readToEnd(secure)).toHaveLength(goReply + 20 * (16 + 2 * MiB));
    expect(goodbye).toHaveBeenCalled();
  });

  test('is held back when it takes no replies, and gets all of them in the end', async () => {
    const { path, client, device } = await withKeys();
    const read = vi.spyOn(device, 'read');
    const secure = await connectSecure(path, client);
    const many = Array.from({ length: 64 }, () => request({ type: READ, length: 4 * MiB }));
    secure.write(Buffer.concat([go, ...many]));
    await expect.poll(() => read.mock.calls.length).toBeGreaterThan(0);
    // Others come and go meanwhile.
    for (let round = 0; round < 5; round++) expect(await isServed(path, client)).toBe(true);
    // The budget of a connection is 33 MiB, and what the kernel holds.
    expect(read.mock.calls.length).toBeLessThan(12);
    let received = 0;
    secure.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    await expect.poll(() => received, { timeout: 10_000 }).toBe(goReply + 64 * (16 + 4 * MiB));
  });

  test('that takes its replies slowly gets them whole, and TLS is never given much more than a MiB to encrypt', async () => {
    const folder = await temporaryFolder();
    const file = join(folder, 'keys.psk');
    await writeFile(file, `alice:${alice.toString('hex')}\n`, { mode: 0o600 });
    const credentials = await loadPskFile(file);
    const held: number[] = [];
    const accept: typeof credentials.accept = (socket, onSecure) =>
      credentials.accept(socket, (secure) => {
        const write = secure.write.bind(secure);
        vi.spyOn(secure, 'write').mockImplementation((...args: unknown[]) => {
          const taken: boolean = Reflect.apply(write, secure, args);
          held.push(secure.writableLength);
          return taken;
        });
        onSecure(secure);
      });
    const { path, device } = await listen({ ...credentials, accept }, folder, {});
    const bytes = randomBytes(12 * MiB);
    await device.write(bytes, 0n);
    const secure = await connectSecure(path, asUser('alice', alice));
    secure.write(go);
    await readBytes(secure, goReply);
    const lengths = [5 * MiB, 10, 3 * MiB + 1, 4096, 12 * MiB, MiB, 10, 2 * MiB];
    secure.write(
      Buffer.concat(
        lengths.map((length, i) => request({ type: READ, cookie: BigInt(i), offset: BigInt(i), length: length - i })),
      ),
    );
    const answered: number[] = [];
    for (const _ of lengths) {
      const i = Number((await readBytes(secure, 16)).readBigUInt64BE(8));
      answered.push(i);
      const reply = await readBytes(secure, (lengths[i] ?? 0) - i);
      expect(reply.equals(bytes.subarray(i, lengths[i]))).toBe(true);
    }
    expect(answered.sort()).toEqual([...lengths.keys()]);
    expect(Math.max(...held)).toBeGreaterThan(MiB / 2);
    expect(Math.max(...held)).toBeLessThanOrEqual(2 * MiB);
  });

  test('cannot hold up the end by taking no replies', async () => {
    const { path, client, server } = await withKeys({ grace: 50 });
    const secure = await connectSecure(path, client);
    const many = Array.from({ length: 64 }, () => request({ type: READ, length: 4 * MiB }));
    secure.write(Buffer.concat([go, ...many]));
    await server.close();
  });

  test('gets its answers when the server closes', async () => {
    const { path, client, server } = await withKeys();
    const secure = await connectSecure(path, client);
    secure.write(Buffer.concat([go, request({ type: READ, length: MiB }), request({ type: READ }).subarray(0, 9)]));
    await readBytes(secure, goReply + 16 + MiB);
    const idle = await acknowledged(path);
    await Promise.all([server.close(), readToEnd(secure), readToEnd(idle)]);
  });

  test('does harm to nobody when it goes away with replies outstanding', async () => {
    const { path, client } = await withKeys();
    for (let round = 0; round < 5; round++) {
      const secure = await connectSecure(path, client);
      const many = Array.from({ length: 64 }, () => request({ type: READ, length: MiB }));
      await new Promise((resolve) => secure.write(Buffer.concat([go, ...many]), resolve));
      secure.destroy();
    }
    expect(await isServed(path, client)).toBe(true);
  });

  test('is closed when somebody tampers with its bytes, and nothing of them is taken', async () => {
    const { path, client, device } = await withKeys();
    const write = vi.spyOn(device, 'write');
    const plain = await acknowledged(path);
    const secure = await secureOver(plain, client);
    secure.write(go);
    await readBytes(secure, goReply);
    // A record of application data, as long as this request and its payload, that nobody encrypted.
    const forged = Buffer.concat([request({ type: WRITE, length: 512 }), Buffer.alloc(512, 1)]);
    plain.write(Buffer.concat([Buffer.from('170303', 'hex'), u16(forged.length), forged]));
    await readToEnd(secure);
    expect(write).not.toHaveBeenCalled();
    expect(await isServed(path, client)).toBe(true);
  });

  test('leaks no descriptor, wherever it breaks off', async () => {
    const { path, client, server } = await withKeys();
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    for (let round = 0; round < 30; round++) {
      const plain = await acknowledged(path);
      // The start of a ClientHello.
      plain.write(Buffer.from('1603010200010001fc0303', 'hex').subarray(0, round % 12));
      plain.destroy();
      const secure = await connectSecure(path, client);
      secure.write(Buffer.concat([go, request({ type: READ, length: MiB })]).subarray(0, round * 3));
      secure.destroy();
    }
    await server.close();
    await expect.poll(descriptors).toBeLessThanOrEqual(before);
  });
});

describe('before TLS', () => {
  test.each([
    ['with STARTTLS', (more: Buffer) => [Buffer.concat([starttls, more])]],
    ['after STARTTLS', (more: Buffer) => [starttls, more]],
  ])('an option slipped in %s is never answered', async (_, writes) => {
    const { path, client } = await withKeys();
    const socket = await connectPlain(path);
    await readBytes(socket, 18);
    socket.write(u32(3));
    for (const bytes of writes(go)) {
      socket.write(bytes);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const replies = await readToEnd(socket);
    // The ACK; the rest, if any, is a TLS alert.
    expect(replies.readUInt32BE(12)).toBe(1);
    const rest = replies.subarray(20);
    expect(rest.length === 0 || rest.readUInt8(0) === 0x15).toBe(true);
    expect(rest.length).toBeLessThan(16);
    expect(await isServed(path, client)).toBe(true);
  });

  test('bytes that are no TLS close the connection quietly', async () => {
    const { path, client } = await withKeys();
    const socket = await acknowledged(path);
    socket.write(randomBytes(1000));
    await readToEnd(socket);
    expect(await isServed(path, client)).toBe(true);
  });

  test.each([
    ['begins with TLS', ''],
    ['ends its TLS handshake', '1603010200010001fc0303'],
  ])('a client that never %s is dropped by the time limit of the handshake', async (_, hello) => {
    const { path } = await withKeys({ handshakeTimeout: 100 });
    const socket = await acknowledged(path);
    socket.write(Buffer.from(hello, 'hex'));
    await readToEnd(socket);
  });

  test('a client may go on in the clear where TLS is on, and not where it is required', async () => {
    for (const mode of ['on', 'require'] as const) {
      const { path, client } = await withKeys({ mode });
      const socket = await connectPlain(path);
      await readBytes(socket, 18);
      socket.write(Buffer.concat([u32(3), go]));
      // INFO, or ERR_TLS_REQD.
      expect((await readBytes(socket, 20)).readUInt32BE(12)).toBe(mode === 'on' ? 3 : 2 ** 31 + 5);
      expect(await isServed(path, client)).toBe(true);
    }
  });
});

describe('pre-shared keys', () => {
  test('let in who knows the key of a user, and nobody else', async () => {
    const { path } = await withKeys();
    expect(await isServed(path, asUser('alice', alice))).toBe(true);
    expect(await isServed(path, asUser('alice', randomBytes(32)))).toBe(false);
    expect(await isServed(path, asUser('bob', alice))).toBe(false);
    expect(await isServed(path, asUser('', alice))).toBe(false);
    expect(await isServed(path, {})).toBe(false);
  });

  test.each(forwardSecret.split(':'))('take %s of TLS 1.2', async (cipher) => {
    const { path } = await withKeys();
    const tls12 = { maxVersion: 'TLSv1.2' } as const;
    expect(await isServed(path, { ...asUser('alice', alice, cipher), ...tls12 })).toBe(true);
    expect(await isServed(path, { ...asUser('alice', randomBytes(32), cipher), ...tls12 })).toBe(false);
  });

  test('take no cipher without forward secrecy', async () => {
    const { path } = await withKeys();
    const plain = asUser('alice', alice, 'PSK-AES256-GCM-SHA384:RSA-PSK-AES256-GCM-SHA384');
    expect(await isServed(path, { ...plain, maxVersion: 'TLSv1.2' })).toBe(false);
  });
});

describe('certificates', () => {
  const it = needs({ programs: ['openssl'] });

  it('take TLS 1.2 and 1.3, not 1.1', async () => {
    const { path } = await withCertificates(false);
    const only = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') =>
      isServed(path, { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' });
    expect(await only('TLSv1.3')).toBe(true);
    expect(await only('TLSv1.2')).toBe(true);
    expect(await only('TLSv1.1')).toBe(false);
  });

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`of clients are verified under ${maxVersion}: none, or another authority's, is turned away`, async () => {
      const { path, client } = await withCertificates(true);
      const foreign = await temporaryFolder();
      await makeCertificates(foreign);
      const read = (name: string) => readFile(join(foreign, name));
      const stranger = { cert: await read('client-cert.pem'), key: await read('client-key.pem') };
      expect(await isServed(path, { maxVersion, ...client })).toBe(true);
      expect(await isServed(path, { maxVersion })).toBe(false);
      expect(await isServed(path, { maxVersion, ...stranger })).toBe(false);
    });
  }

  it('of clients that were withdrawn are turned away', async () => {
    const { path, client } = await withCertificates(true, revokeClient);
    expect(await isServed(path, client)).toBe(false);
  });

  it('of clients are not asked for unless they are verified', async () => {
    const { path } = await withCertificates(false);
    expect(await isServed(path, {})).toBe(true);
  });
});

test('a client that hangs up in the middle of the TLS handshake is let go of at once', async () => {
  const { path } = await withKeys();
  const socket = await acknowledged(path);
  // The head of a ClientHello, and half of what it announces.
  socket.end(Buffer.concat([Buffer.from([22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]), Buffer.alloc(100)]));
  await readToEnd(socket);
});
