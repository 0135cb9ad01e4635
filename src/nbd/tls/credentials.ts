import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { certificateNames } from '../tls-files.js';
import { acceptor } from './accept.js';
import { readCertificate, readKeyPair, readRevocations } from './pem.js';
import { pskCiphers, readPskFile } from './psk.js';

/** How a server proves who it is, and clients have to. */
export interface TlsCredentials {
  /** Whether a client that comes to its end of the TLS handshake has proved that it is known. */
  readonly clientsKnown: boolean;
  /** The first user of a file of keys. */
  readonly user?: string | undefined;
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
  const pair = await readKeyPair(folder, certificateNames.serverCert, certificateNames.serverKey, onWarning);
  const ca = verifyPeer ? (await readCertificate(join(folder, certificateNames.ca))).text : undefined;
  const crl = verifyPeer ? await readRevocations(join(folder, revoked)) : undefined;
  const accept = await acceptor(folder, {
    ...pair,
    // Nobody's word but this authority's counts.
    ca: ca ?? [],
    crl,
    requestCert: verifyPeer,
    rejectUnauthorized: verifyPeer,
  });
  return { clientsKnown: verifyPeer, accept };
}

/**
 * Pre-shared keys from a file, as psktool writes it and nbdkit reads it.
 *
 * @throws {DiskError} NOT_FOUND when it is missing; USAGE when it is not such a file, or holds no key
 */
export async function loadPskFile(path: string, { onWarning }: CredentialsOptions = {}): Promise<TlsCredentials> {
  const keys = await readPskFile(path, onWarning);
  const accept = await acceptor(path, {
    ciphers: pskCiphers,
    dhparam: 'auto',
    pskCallback: (_socket, user) => keys.get(user) ?? null,
  });
  const [user] = keys.keys();
  return { clientsKnown: true, user, accept };
}
