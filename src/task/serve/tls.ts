import { resolve } from 'node:path';
import { DiskError } from '../../error/disk-error.js';
import { loadCertificates, loadPskFile, type TlsMode, type TlsOffer } from '../../nbd/index.js';
import type { TaskContext } from '../context.js';

/** What is asked for about TLS. */
export interface ServeTls {
  /** Undefined: required with credentials, else off. Who names a key does not mean to let in who has none. */
  readonly mode?: TlsMode | undefined;
  /** A folder with `server-cert.pem` and `server-key.pem`, and `ca-cert.pem` to verify peers. */
  readonly certificates?: string | undefined;
  /** A file of pre-shared keys. */
  readonly psk?: string | undefined;
  /** Only clients with a certificate of the authority are served. */
  readonly verifyPeer?: boolean | undefined;
}

/**
 * Loads the credentials that are asked for; undefined: all goes in the clear.
 *
 * @throws {DiskError} USAGE when what is asked for does not go together, and what loading throws
 */
export async function tlsOffer(asked: ServeTls, { onWarning }: TaskContext): Promise<TlsOffer | undefined> {
  const { certificates, psk, verifyPeer = false } = asked;
  const given = certificates !== undefined || psk !== undefined;
  const mode = asked.mode ?? (given ? 'require' : 'off');
  if (certificates !== undefined && psk !== undefined) {
    throw new DiskError('USAGE', 'choose one of --tls-certs and --tls-psk');
  }
  if (verifyPeer && certificates === undefined) {
    throw new DiskError('USAGE', '--tls-verify-peer goes with --tls-certs: it asks clients for a certificate');
  }
  if (mode === 'off') {
    if (given) throw new DiskError('USAGE', '--tls off uses no credentials: leave out --tls-certs and --tls-psk');
    return undefined;
  }
  if (certificates !== undefined) {
    return { mode, credentials: await loadCertificates(certificates, { verifyPeer, onWarning }) };
  }
  if (psk !== undefined) return { mode, credentials: await loadPskFile(psk, { onWarning }) };
  throw new DiskError('USAGE', `--tls ${mode} needs credentials: --tls-certs DIR or --tls-psk FILE`);
}

/** The URI for a client on this machine, that uses the same files: as `nbds` alone it would not know who it is. */
export function uriWithFiles(uri: string, { certificates, psk }: ServeTls, tls: TlsOffer | undefined): string {
  if (tls?.mode !== 'require') return uri;
  const user = tls.credentials.user === undefined ? '' : `${encodeURIComponent(tls.credentials.user)}@`;
  const [name, path] = psk === undefined ? ['tls-certificates', certificates ?? ''] : ['tls-psk-file', psk];
  const value = encodeURIComponent(resolve(path)).replaceAll('%2F', '/');
  return `${uri.replace('://', `://${user}`)}${uri.includes('?') ? '&' : '?'}${name}=${value}`;
}

/** Why clients that nobody knows are served, or undefined when they are not. */
export function whyStrangersCome(tls: TlsOffer | undefined): string | undefined {
  if (tls === undefined) return 'NBD asks for no password';
  if (tls.mode === 'on') return 'TLS is offered, not required: use --tls require';
  return tls.credentials.clientsKnown ? undefined : 'TLS asks clients for no certificate: use --tls-verify-peer';
}
