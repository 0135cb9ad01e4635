import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { DiskError } from '../../error/disk-error.js';
import type { NbdTarget, TlsWishes } from '../client/parse-uri.js';
import { certificateNames } from '../tls-files.js';
import { readCertificate, readKeyPair } from './pem.js';
import { pskCiphers, readPskFile } from './psk.js';

/** Takes the client's side of a TLS handshake on a socket that nobody listens to; rejects with DiskError. */
export type SecureSocket = (socket: Socket) => Promise<TLSSocket>;

/**
 * The client's side of TLS, as a URI wants it. The server has to prove who it is, unless the URI says otherwise: by a
 * certificate in the name of its host (any name on a unix socket) or by the pre-shared key.
 *
 * @param server the URI, for errors
 * @throws {DiskError} NOT_FOUND, USAGE for files that are missing or wrong
 */
export async function secureBy(wishes: TlsWishes, at: NbdTarget['at'], server: string): Promise<SecureSocket> {
  // Only here: a client in the clear starts sooner without it.
  const { connect, checkServerIdentity } = await import('node:tls');
  const credentials = wishes.type === 'psk' ? await preSharedKey(wishes) : await certificates(wishes);
  const hostname = wishes.hostname ?? ('host' in at ? at.host : undefined);
  const options: ConnectionOptions = {
    ...credentials,
    minVersion: 'TLSv1.2',
    rejectUnauthorized: wishes.type === 'x509' && wishes.verifyPeer,
    checkServerIdentity: (_host, certificate) =>
      hostname === undefined || wishes.type === 'psk' ? undefined : checkServerIdentity(hostname, certificate),
    ...(hostname === undefined || isAddress(hostname) ? {} : { servername: hostname }),
  };
  return async (socket) => {
    const secure = connect({ ...options, socket });
    // Whoever waits for it is told.
    secure.on('error', () => {});
    const gone = new AbortController();
    secure.once('close', () => gone.abort());
    try {
      await once(secure, 'secureConnect', { signal: gone.signal });
      return secure;
    } catch (error) {
      throw refusal(error, server);
    }
  };
}

async function certificates({ certificates: folder }: TlsWishes): Promise<ConnectionOptions> {
  const found = folder ?? usualFolders().find((each) => existsSync(join(each, certificateNames.ca)));
  // Then the authorities that everybody trusts.
  if (found === undefined) return {};
  const ca = (await readCertificate(join(found, certificateNames.ca))).text;
  if (!existsSync(join(found, certificateNames.clientCert))) return { ca };
  return { ca, ...(await readKeyPair(found, certificateNames.clientCert, certificateNames.clientKey, undefined)) };
}

/** Where libnbd looks. */
function usualFolders(): string[] {
  return process.getuid?.() === 0
    ? ['/etc/pki/libnbd']
    : [join(homedir(), '.pki/libnbd'), join(homedir(), '.config/pki/libnbd')];
}

async function preSharedKey({ pskFile = '', user = userInfo().username }: TlsWishes): Promise<ConnectionOptions> {
  const psk = (await readPskFile(pskFile, undefined)).get(user);
  if (psk === undefined) {
    throw new DiskError('NOT_FOUND', `${pskFile}: holds no key of ${user}: name the user in the URI: nbds://USER@…`);
  }
  return { ciphers: pskCiphers, pskCallback: () => ({ psk, identity: user }) };
}

function isAddress(host: string): boolean {
  return /^[\d.]+$/.test(host) || host.includes(':');
}

function refusal(error: unknown, server: string): unknown {
  if (!(error instanceof Error) || error instanceof DiskError) return error;
  return new DiskError('IO', `${server}: TLS cannot be agreed on: ${error.message}`, { reason: 'tls', cause: error });
}
