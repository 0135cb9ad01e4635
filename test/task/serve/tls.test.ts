import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type ServeReady, serve } from '../../../src/task/serve/serve.js';
import { type ServeTls, tlsOffer } from '../../../src/task/serve/tls.js';
import { makeCertificates } from '../../support/certificates.js';
import { needs } from '../../support/needs.js';
import { attempt, disktool, disktoolHere, disktoolPath, run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

async function keys(): Promise<{ folder: string; psk: string }> {
  const folder = await temporaryFolder();
  const psk = join(folder, 'keys.psk');
  await writeFile(psk, 'alice:00112233445566778899aabbccddeeff\n', { mode: 0o600 });
  return { folder, psk };
}

async function certificates(): Promise<string> {
  const folder = await temporaryFolder();
  await makeCertificates(folder);
  return folder;
}

describe('tlsOffer', () => {
  test('without credentials is none, and with them requires TLS unless it is told otherwise', async () => {
    const { psk } = await keys();
    expect(await tlsOffer({}, {})).toBeUndefined();
    expect(await tlsOffer({ mode: 'off' }, {})).toBeUndefined();
    expect((await tlsOffer({ psk }, {}))?.mode).toBe('require');
    expect((await tlsOffer({ psk, mode: 'on' }, {}))?.mode).toBe('on');
  });

  test.each<[string, ServeTls]>([
    ['require without credentials', { mode: 'require' }],
    ['on without credentials', { mode: 'on' }],
    ['off with credentials', { mode: 'off', psk: 'keys' }],
    ['keys and certificates', { psk: 'keys', certificates: 'folder' }],
    ['keys, whose peers have no certificates to verify', { psk: 'keys', verifyPeer: true }],
    ['peers to verify, and nothing else', { verifyPeer: true }],
  ])('refuses %s', async (_, asked) => {
    await expect(tlsOffer(asked, {})).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('--tls'),
    });
  });
});

describe('serve to other machines warns', () => {
  const it = needs({ programs: ['openssl'] });
  const warningsWith = async (tls: ServeTls) => {
    const warnings: string[] = [];
    const abort = new AbortController();
    const context = { signal: abort.signal, onWarning: (message: string) => warnings.push(message) };
    const address = { host: '0.0.0.0', port: 0 };
    const exports = [{ name: '', source: { memory: 1n }, readOnly: false, layers: {} }] as const;
    await serve({ exports, address, tls }, context, () => abort.abort());
    return warnings;
  };

  test('that TLS is not required, and not at all where every client needs a key', async () => {
    const { psk } = await keys();
    expect(await warningsWith({ psk, mode: 'on' })).toEqual([expect.stringMatching(/0\.0\.0\.0 .*--tls require/)]);
    expect(await warningsWith({ psk })).toEqual([]);
  });

  it('that no client is verified, and not at all where every one is', async () => {
    const folder = await certificates();
    expect(await warningsWith({ certificates: folder })).toEqual([expect.stringContaining('--tls-verify-peer')]);
    expect(await warningsWith({ certificates: folder, verifyPeer: true })).toEqual([]);
  });
});

test('serve takes credentials that are wrong for what they are before it touches the disk', async () => {
  const { folder } = await keys();
  const exports = [{ name: '', source: { file: join(folder, 'none') }, readOnly: false, layers: {} }] as const;
  const asked = { exports, address: { socketPath: join(folder, 's') }, tls: { certificates: folder } };
  const ready: ServeReady[] = [];
  await expect(serve(asked, {}, (found) => ready.push(...found))).rejects.toMatchObject({
    message: expect.stringContaining('server-cert.pem'),
  });
  expect(ready).toEqual([]);
});

describe('disktool serve', () => {
  needs({ programs: ['nbdinfo', 'openssl'] })(
    '--tls-certs --tls-verify-peer serves who is known over TCP',
    async () => {
      const folder = await certificates();
      const args = ['serve', '--memory', '1M', '--port', '0', '--tls-certs', folder, '--tls-verify-peer'];
      const child = spawn(process.execPath, [disktoolPath, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
      onTestFinished(() => {
        child.kill('SIGKILL');
      });
      const closed = once(child, 'close');
      const line: unknown = (await createInterface(child.stdout)[Symbol.asyncIterator]().next()).value;
      const uri = /nbds:\/\/localhost:\d+\//.exec(String(line))?.[0];
      expect(await run('nbdinfo', ['--size', `${uri}?tls-certificates=${folder}`])).toBe('1048576');
      expect((await attempt('nbdinfo', ['--size', String(uri).replace('nbds', 'nbd')])).status).not.toBe(0);
      child.kill('SIGTERM');
      expect(await closed).toEqual([0, null]);
    },
  );

  test.each([
    ['--tls require without credentials', ['--tls', 'require']],
    ['--tls with a mode that is none', ['--tls', 'maybe']],
    ['--tls-verify-peer alone', ['--tls-verify-peer']],
  ])('%s exits with status 2', async (_, args) => {
    const { folder } = await keys();
    const { status } = await disktoolHere(['serve', '--memory', '1M', '--socket', join(folder, 's'), ...args]);
    expect(status).toBe(2);
  });
});

describe('the command of --run', () => {
  needs({ programs: ['nbdinfo'] })('finds its key in the URI, for libnbd and for us', async () => {
    const { psk } = await keys();
    const command = `nbdinfo --size "$uri" && "${process.execPath}" "${disktoolPath}" download "$uri" /dev/sda - | wc -c`;
    const { status, stdout } = await disktool(['serve', '--memory', '64K', '--tls-psk', psk, '--run', command]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: '65536\n65536' });
  });

  needs({ programs: ['nbdinfo', 'openssl'] })('finds the certificates in the URI', async () => {
    const folder = await certificates();
    const args = [
      'serve',
      '--memory',
      '64K',
      '--tls-certs',
      folder,
      '--tls-verify-peer',
      '--run',
      'nbdinfo --size "$uri"',
    ];
    const { status, stdout } = await disktool(args);
    expect({ status, stdout }).toEqual({ status: 0, stdout: '65536' });
  });
});
