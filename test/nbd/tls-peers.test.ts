import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, onTestFinished } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import { loadCertificates, loadPskFile, NbdServer, type TlsCredentials } from '../../src/nbd/index.js';
import { certificateFolders } from '../support/certificates.js';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';
import { info, MiB, optionBytes, u32 } from './raw-client.js';
import { connectPlain, readBytes } from './raw-tls-client.js';

const size = 20 * MiB;

async function listen(credentials: TlsCredentials, folder: string, mode: 'on' | 'require') {
  const device = memoryDevice(BigInt(size));
  const exports = [{ name: '', description: 'a disk', device }];
  const path = join(folder, 'socket');
  const server = await NbdServer.listen(exports, { socketPath: path }, { tls: { mode, credentials } });
  onTestFinished(async () => {
    await server.close();
    await device.close();
  });
  return { device, path, uri: server.uri };
}

/** alice's key in a folder as QEMU wants it; a stranger's is in `stranger`. */
async function withKeys(mode: 'on' | 'require' = 'require') {
  const folder = await temporaryFolder();
  const file = join(folder, 'keys.psk');
  const stranger = join(folder, 'stranger');
  await mkdir(stranger);
  for (const path of [file, join(stranger, 'keys.psk')]) {
    await writeFile(path, `alice:${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  }
  const server = await listen(await loadPskFile(file), folder, mode);
  const uriWith = (keys: string) => `nbds+unix://alice@/?socket=${server.path}&tls-psk-file=${keys}`;
  return { ...server, folder, stranger, file, mine: uriWith(file), wrong: uriWith(join(stranger, 'keys.psk')) };
}

/** A client with a certificate of the server's authority is in `known`; one of another authority in `stranger`. */
async function withCertificates(verifyPeer: boolean) {
  const { folder, known, stranger, nobody } = await certificateFolders();
  const server = await listen(await loadCertificates(known, { verifyPeer }), folder, 'require');
  const uriWith = (path: string) => `nbds+unix://localhost/?socket=${server.path}&tls-certificates=${path}`;
  return { ...server, folder, known, stranger, nobody, uriWith };
}

const succeeds = async (program: string, args: readonly string[]) => (await attempt(program, args)).status === 0;

describe('libnbd', () => {
  const it = needs({ programs: ['nbdinfo', 'nbdcopy', 'openssl'] });

  it('nbdcopy with a pre-shared key copies in and out, over several connections', async () => {
    const { mine, folder, device } = await withKeys();
    const [data, back] = [join(folder, 'data'), join(folder, 'back')];
    const bytes = randomBytes(size);
    await writeFile(data, bytes);
    await run('nbdcopy', ['--connections=4', data, mine]);
    const stored = Buffer.alloc(size);
    await device.read(stored, 0n);
    expect(stored.equals(bytes)).toBe(true);
    await run('nbdcopy', ['--connections=4', mine, back]);
    expect((await readFile(back)).equals(bytes)).toBe(true);
  });

  it('nbdinfo is refused with a wrong key, and in the clear', async () => {
    const { mine, wrong, uri, path } = await withKeys();
    expect(await run('nbdinfo', ['--size', mine])).toBe(String(size));
    expect(await succeeds('nbdinfo', ['--size', wrong])).toBe(false);
    const plain = await attempt('nbdinfo', ['--size', `nbd+unix:///?socket=${path}`]);
    expect(plain.status).not.toBe(0);
    expect(plain.stderr).toContain('requires TLS');
    expect(uri).toBe(`nbds+unix:///?socket=${path}`);
  });

  it('nbdinfo goes on in the clear where TLS is on, by the URI that the server tells', async () => {
    const { mine, uri } = await withKeys('on');
    expect(await run('nbdinfo', ['--size', uri])).toBe(String(size));
    expect(await run('nbdinfo', ['--size', mine])).toBe(String(size));
  });

  it('nbdinfo with any certificate or none is served where peers are not verified', async () => {
    const { uriWith, known, stranger, nobody } = await withCertificates(false);
    for (const folder of [known, stranger, nobody]) {
      expect(await run('nbdinfo', ['--size', uriWith(folder)])).toBe(String(size));
    }
  });

  it('nbdinfo without the right certificate is refused where peers are verified', async () => {
    const { uriWith, known, stranger, nobody } = await withCertificates(true);
    expect(await run('nbdinfo', ['--size', uriWith(known)])).toBe(String(size));
    expect(await succeeds('nbdinfo', ['--size', uriWith(stranger)])).toBe(false);
    expect(await succeeds('nbdinfo', ['--size', uriWith(nobody)])).toBe(false);
  });

  needs({ programs: ['python3', 'nbdinfo'] })('haggles again under TLS, and leaves by ABORT', async () => {
    const { file, path } = await withKeys('on');
    const script = `
import nbd, sys
def handle(tls):
    h = nbd.NBD()
    h.set_opt_mode(True)
    h.set_tls(tls)
    h.set_tls_username("alice")
    h.set_tls_psk_file(sys.argv[1])
    h.add_meta_context("base:allocation")
    h.connect_unix(sys.argv[2])
    return h
for tls in nbd.TLS_DISABLE, nbd.TLS_ALLOW, nbd.TLS_REQUIRE:
    h = handle(tls)
    assert h.get_tls_negotiated() == (tls != nbd.TLS_DISABLE)
    names = []
    h.opt_list(lambda name, description: names.append(name))
    assert names == [""], names
    h.opt_abort()
    h = handle(tls)
    h.opt_info()
    h.opt_go()
    assert h.can_meta_context("base:allocation")
    h.pwrite(b"x" * 3000000, 5)
    assert h.pread(3000000, 5) == b"x" * 3000000
    h.shutdown()
`;
    // The libnbd module belongs to Debian's own Python.
    await run('/usr/bin/python3', ['-c', script, file, path]);
  });
});

describe('qemu-img', () => {
  const it = needs({ programs: ['qemu-img', 'openssl'] });
  const qemu = (object: string, path: string) => [
    ...['--object', `${object},id=tls,endpoint=client`],
    ...['--image-opts', `driver=nbd,path=${path},tls-creds=tls,tls-hostname=localhost`],
  ];
  const only = (version: string) => `priority=NORMAL:-VERS-ALL:+VERS-${version}`;

  it('with a pre-shared key takes TLS 1.3 and 1.2, not 1.1, and is refused with a wrong key', async () => {
    const { folder, stranger, path } = await withKeys();
    const psk = (dir: string, more: string) => qemu(`tls-creds-psk,dir=${dir},username=alice,${more}`, path);
    for (const version of ['TLS1.3', 'TLS1.2']) {
      expect(await run('qemu-img', ['info', ...psk(folder, only(version))])).toContain(String(size));
      expect(await succeeds('qemu-img', ['info', ...psk(stranger, only(version))])).toBe(false);
    }
    expect(await succeeds('qemu-img', ['info', ...psk(folder, only('TLS1.1'))])).toBe(false);
  });

  it('with certificates is verified, and refused in TLS 1.1', async () => {
    const { known, stranger, nobody, path } = await withCertificates(true);
    const x509 = (dir: string, version: string) => qemu(`tls-creds-x509,dir=${dir},${only(version)}`, path);
    for (const version of ['TLS1.3', 'TLS1.2']) {
      expect(await run('qemu-img', ['info', ...x509(known, version)])).toContain(String(size));
      expect(await succeeds('qemu-img', ['info', ...x509(stranger, version)])).toBe(false);
      expect(await succeeds('qemu-img', ['info', ...x509(nobody, version)])).toBe(false);
    }
    expect(await succeeds('qemu-img', ['info', ...x509(known, 'TLS1.1')])).toBe(false);
  });

  it('converts what the disk holds', async () => {
    const { folder, path, device } = await withKeys();
    const bytes = randomBytes(3 * MiB);
    await device.write(bytes, BigInt(MiB));
    const copy = join(folder, 'copy');
    const object = `tls-creds-psk,dir=${folder},username=alice`;
    await run('qemu-img', ['convert', '-O', 'raw', ...qemu(object, path), copy]);
    const copied = await readFile(copy);
    expect(copied.subarray(MiB, 4 * MiB).equals(bytes)).toBe(true);
    expect(copied).toHaveLength(size);
  });
});

describe('nbdkit', () => {
  needs({ programs: ['nbdkit'] })('answers every option before a TLS that is required as we do', async () => {
    const { file, folder, path } = await withKeys();
    const theirs = join(folder, 'nbdkit');
    const args = ['-f', '--tls=require', `--tls-psk=${file}`, '-U', theirs, 'memory', String(size)];
    const nbdkit = execa('nbdkit', args, { stdin: 'ignore', reject: false });
    onTestFinished(async () => {
      nbdkit.kill();
      await nbdkit;
      await rm(theirs, { force: true });
    });
    await expect.poll(() => succeeds('test', ['-S', theirs])).toBe(true);
    const empty = Buffer.alloc(0);
    const asked: [number, Buffer][] = [
      ...[1, 2, 3, 5, 6, 7, 8, 9, 10, 77].map((type): [number, Buffer] => [type, empty]),
      ...[5, 6, 7].map((type): [number, Buffer] => [type, info('')]),
    ];
    for (const [type, data] of asked) {
      const [we, they] = await Promise.all([answerTo(path, type, data), answerTo(theirs, type, data)]);
      expect({ type, length: data.length, answer: we }).toEqual({ type, length: data.length, answer: they });
    }
  });

  /** The type of the only reply, or what happens instead. */
  async function answerTo(path: string, type: number, data: Buffer): Promise<number | 'hung up'> {
    const socket: Socket = await connectPlain(path);
    try {
      await readBytes(socket, 18);
      socket.write(Buffer.concat([u32(3), optionBytes(type, data)]));
      const header = await readBytes(socket, 20).catch(() => undefined);
      return header === undefined ? 'hung up' : header.readUInt32BE(12);
    } finally {
      socket.destroy();
    }
  }
});
