import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { DiskError } from '../../error/disk-error.js';
import { certificateNames, parsePskFile } from '../tls-files.js';
import { acceptor } from './accept.js';
import { readCertificate, readPrivateKey, readRevocations, readSecret } from './pem.js';

/** How a server proves who it is, and clients have to. */
export interface TlsCredentials {
  /** Whether a client that comes to its end of the TLS handshake has proved that it is known. */
  readonly clientsKnown: boolean;
  /**
   * Takes the server's side of a TLS handshake on a socket, to which nobody else listens any more. When it fails the
   * socket is closed.
   *
   * @param onSecure called with what brings the plain bytes
   */
  accept(socket: Socket, onSecure: (secure: TLSSocket) => void): void;
}

/** TLS, as a server offers it or insists on it. */
export interface TlsOffer {
  readonly mode: 'on' | 'require';
  readonly credentials: TlsCredentials;
}

export interface CredentialsOptions {
  /** Something the user should know, that stops nothing. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** Certificates that were withdrawn: not one of libnbd's names, but nbdkit's and QEMU's. */
const revoked = 'ca-crl.pem';

/**
 * X.509 credentials from a folder, with the file names of {@link certificateNames}.
 *
 * @param verifyPeer clients need a certificate signed by `ca-cert.pem`, and not withdrawn in `ca-crl.pem` if that is there
 * @throws {DiskError} NOT_FOUND when a file is missing; USAGE when one is not what it should be
 */
export async function loadCertificates(
  folder: string,
  { verifyPeer = false, onWarning }: CredentialsOptions & { readonly verifyPeer?: boolean | undefined } = {},
): Promise<TlsCredentials> {
  const certPath = join(folder, certificateNames.serverCert);
  const keyPath = join(folder, certificateNames.serverKey);
  const cert = await readCertificate(certPath);
  const key = await readPrivateKey(keyPath, onWarning);
  if (!cert.first.checkPrivateKey(key.object)) {
    throw new DiskError('USAGE', `${keyPath}: is not the key of ${certificateNames.serverCert}`);
  }
  const ca = verifyPeer ? (await readCertificate(join(folder, certificateNames.ca))).text : undefined;
  const crl = verifyPeer ? await readRevocations(join(folder, revoked)) : undefined;
  const accept = await acceptor(folder, {
    cert: cert.text,
    key: key.text,
    // Nobody's word but this authority's counts.
    ca: ca ?? [],
    crl,
    requestCert: verifyPeer,
    rejectUnauthorized: verifyPeer,
  });
  return { clientsKnown: verifyPeer, accept };
}

/**
 * TLS 1.3 first. Before it, what keeps old recordings closed when a key becomes known (ECDHE and DHE); never plain PSK.
 * A key from outside TLS goes with SHA-256 in TLS 1.3 (RFC 8446, section 4.2.11).
 */
const pskCiphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES256-GCM-SHA384',
  'DHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES128-GCM-SHA256',
].join(':');

/**
 * Pre-shared keys from a file, as psktool writes it and nbdkit reads it.
 *
 * @throws {DiskError} NOT_FOUND when it is missing; USAGE when it is not such a file, or holds no key
 */
export async function loadPskFile(path: string, { onWarning }: CredentialsOptions = {}): Promise<TlsCredentials> {
  const keys = keysOf(path, await readSecret(path, onWarning));
  const accept = await acceptor(path, {
    ciphers: pskCiphers,
    dhparam: 'auto',
    pskCallback: (_socket, user) => keys.get(user) ?? null,
  });
  return { clientsKnown: true, accept };
}

function keysOf(path: string, text: string): Map<string, Buffer> {
  try {
    const keys = parsePskFile(text);
    if (keys.size > 0) return keys;
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    throw new DiskError('USAGE', `${path}: ${error.message}`, { cause: error });
  }
  throw new DiskError('USAGE', `${path}: holds no key: make one: psktool -u USER -p ${path}`);
}
