import { chmod, copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadCertificates, loadPskFile } from '../../../src/nbd/index.js';
import { makeCertificates, renewServer, revokeClient } from '../../support/certificates.js';
import { needs } from '../../support/needs.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

describe('loadCertificates', () => {
  const it = needs({ programs: ['openssl'] });
  const certificates = async () => {
    const folder = await temporaryFolder();
    await makeCertificates(folder);
    return folder;
  };

  it('needs an authority only to verify peers, and a client is known only then', async () => {
    const folder = await certificates();
    expect((await loadCertificates(folder, { verifyPeer: true })).clientsKnown).toBe(true);
    await rm(join(folder, 'ca-cert.pem'));
    expect((await loadCertificates(folder)).clientsKnown).toBe(false);
    await expect(loadCertificates(folder, { verifyPeer: true })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(join(folder, 'ca-cert.pem')),
    });
  });

  for (const name of ['server-cert.pem', 'server-key.pem', 'ca-cert.pem']) {
    it(`names ${name} when it is no PEM, or damaged`, async () => {
      const folder = await certificates();
      const path = join(folder, name);
      const text = await readFile(path, 'utf8');
      for (const wrong of ['', 'no PEM', text.replace(/\n[A-Za-z0-9+/]{20}/, '\n!')]) {
        await writeFile(path, wrong);
        await expect(loadCertificates(folder, { verifyPeer: true })).rejects.toMatchObject({
          code: 'USAGE',
          message: expect.stringContaining(path),
        });
      }
    });
  }

  it('never takes a damaged revocation list for none', async () => {
    const folder = await certificates();
    await revokeClient(folder);
    await loadCertificates(folder, { verifyPeer: true });
    const path = join(folder, 'ca-crl.pem');
    const text = await readFile(path, 'utf8');
    for (const wrong of ['', 'no PEM', text.replace(/\n[A-Za-z0-9+/]{20}/, '\n!')]) {
      await writeFile(path, wrong);
      await expect(loadCertificates(folder, { verifyPeer: true })).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringMatching(/revocation list|CRL/),
      });
    }
  });

  for (const name of ['server-cert.pem', 'server-key.pem']) {
    it(`names ${name} when it is missing`, async () => {
      const folder = await certificates();
      await rm(join(folder, name));
      await expect(loadCertificates(folder)).rejects.toMatchObject({
        code: 'NOT_FOUND',
        message: expect.stringContaining(join(folder, name)),
      });
    });
  }

  it('says that a key is not the one of the certificate', async () => {
    const folder = await certificates();
    await copyFile(join(folder, 'client-key.pem'), join(folder, 'server-key.pem'));
    await expect(loadCertificates(folder)).rejects.toMatchObject({
      code: 'USAGE',
      message: `${join(folder, 'server-key.pem')}: is not the key of server-cert.pem`,
    });
  });

  it('says that a key is locked with a password', async () => {
    const folder = await certificates();
    const key = join(folder, 'server-key.pem');
    const locked = await run('openssl', ['pkey', '-in', key, '-aes256', '-passout', 'pass:word']);
    await writeFile(key, locked);
    await expect(loadCertificates(folder)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/server-key\.pem: is locked with a password/),
    });
  });

  it('warns of a key that everybody can read, and of nothing else', async () => {
    const folder = await certificates();
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    await loadCertificates(folder, { verifyPeer: true, onWarning });
    expect(warnings).toEqual([]);
    await chmod(join(folder, 'server-key.pem'), 0o644);
    await loadCertificates(folder, { verifyPeer: true, onWarning });
    expect(warnings).toEqual([expect.stringContaining('server-key.pem')]);
  });

  it('warns of a certificate that has expired, or is not valid yet, and loads it', async () => {
    const folder = await certificates();
    const path = join(folder, 'server-cert.pem');
    for (const [start, end, warnings] of [
      [
        '20200101000000Z',
        '20210304050607Z',
        [`${path}: expired at 2021-03-04T05:06:07.000Z: who verifies it turns away`],
      ],
      [
        '20900102030405Z',
        '20990101000000Z',
        [`${path}: is not valid before 2090-01-02T03:04:05.000Z: who verifies it turns away`],
      ],
      ['20200101000000Z', '20990101000000Z', []],
    ] as const) {
      await renewServer(folder, start, end);
      const told: string[] = [];
      expect((await loadCertificates(folder, { onWarning: (message) => told.push(message) })).clientsKnown).toBe(false);
      expect(told).toEqual(warnings);
    }
  });
});

describe('loadPskFile', () => {
  const fileOf = async (text: string) => {
    const path = join(await temporaryFolder(), 'keys.psk');
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };

  test('names the file and the line that is wrong', async () => {
    const path = await fileOf('alice:00\nbob\n');
    await expect(loadPskFile(path)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(`${path}: line 2: `),
    });
  });

  test('refuses a file without a key, and one that is not there', async () => {
    const path = await fileOf('# nobody\n');
    await expect(loadPskFile(path)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(loadPskFile(`${path}.none`)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('warns of keys that everybody can read', async () => {
    const path = await fileOf('alice:00ff\n');
    const warnings: string[] = [];
    await loadPskFile(path, { onWarning: (message) => warnings.push(message) });
    expect(warnings).toEqual([]);
    await chmod(path, 0o604);
    const { clientsKnown } = await loadPskFile(path, { onWarning: (message) => warnings.push(message) });
    expect(warnings).toEqual([expect.stringContaining(path)]);
    expect(clientsKnown).toBe(true);
  });
});
