import { DiskError } from '../../error/disk-error.js';
import { defaultPort } from '../on-wire.js';

/** What an NBD URI names. */
export interface NbdTarget {
  readonly at: { readonly path: string } | { readonly host: string; readonly port: number };
  readonly exportName: string;
  /** Undefined: in the clear. */
  readonly tls?: TlsWishes | undefined;
}

/** How a URI wants its connection made secure. */
export interface TlsWishes {
  readonly type: 'x509' | 'psk';
  /** A folder of certificates; undefined: where libnbd looks. */
  readonly certificates?: string | undefined;
  readonly pskFile?: string | undefined;
  /** For a pre-shared key; undefined: the user who runs us. */
  readonly user?: string | undefined;
  /** Whom the server's certificate has to name, where that is not the host. */
  readonly hostname?: string | undefined;
  readonly verifyPeer: boolean;
}

/** Whether a name is an NBD URI of any kind, right or wrong. */
export function isNbdUri(text: string): boolean {
  return /^nbds?(\+[a-z0-9]+)?:\/\//i.test(text);
}

/** `tls-certificates` and `tls-psk-file` are libnbd's, the others the specification's. */
const tlsParameters = ['tls-type', 'tls-hostname', 'tls-verify-peer', 'tls-certificates', 'tls-psk-file'] as const;

/**
 * Takes an NBD URI apart: `nbd://host:port/export` or `nbd+unix:///export?socket=PATH`, `nbds` in place of `nbd` for TLS.
 *
 * @throws {DiskError} USAGE; UNSUPPORTED for other transports and for TLS that proves nothing
 * @see NBD doc/uri.md; nbd_connect_uri(3)
 */
export function parseNbdUri(uri: string): NbdTarget {
  // The standard's parser has no user without a host, which a unix socket has none of.
  const [, start = '', user, rest = uri] = /^([a-z0-9+]+:\/\/)(?:([^/?#@]*)@)?(.*)$/is.exec(uri) ?? [];
  const whole = start + rest;
  const url = URL.canParse(whole) ? new URL(whole) : undefined;
  if (url === undefined) throw new DiskError('USAGE', `${uri}: is no URI: write it like nbd://localhost/export`);
  const scheme = url.protocol.slice(0, -1).toLowerCase();
  if (!['nbd', 'nbds', 'nbd+unix', 'nbds+unix'].includes(scheme)) {
    throw new DiskError('UNSUPPORTED', `${uri}: ${scheme} URIs are not supported: use nbd:// or nbd+unix://`, {
      reason: 'uri',
    });
  }
  checkParameters(uri, url, scheme.startsWith('nbds'));
  const exportName = decode(uri, url.pathname.replace(/^\//, ''));
  const at = scheme.endsWith('+unix') ? unixSocket(uri, url) : tcp(uri, url);
  if (!scheme.startsWith('nbds')) return { at, exportName };
  return { at, exportName, tls: tlsWishes(uri, url, user === undefined ? undefined : decode(uri, user)) };
}

function unixSocket(uri: string, url: URL): { path: string } {
  const path = url.searchParams.get('socket');
  if (path === null || path === '') throw new DiskError('USAGE', `${uri}: names no socket: add ?socket=PATH`);
  if (url.host !== '') throw new DiskError('USAGE', `${uri}: a unix socket has no host: write ${url.protocol}///…`);
  return { path };
}

function tcp(uri: string, url: URL): { host: string; port: number } {
  if (url.searchParams.has('socket')) {
    throw new DiskError('USAGE', `${uri}: names a socket: write ${url.protocol.replace(':', '+unix:')}///…`);
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    host: host === '' ? 'localhost' : decode(uri, host),
    port: url.port === '' ? defaultPort : Number(url.port),
  };
}

/** What we do not know could be about safety: it is never passed over. */
function checkParameters(uri: string, url: URL, secure: boolean): void {
  const tls: readonly string[] = tlsParameters;
  for (const name of url.searchParams.keys()) {
    if (name !== 'socket' && !tls.includes(name)) {
      throw new DiskError('USAGE', `${uri}: "${name}" is no parameter of an NBD URI`);
    }
    if (tls.includes(name) && !secure) {
      throw new DiskError('USAGE', `${uri}: ${name} is for TLS: write ${url.protocol.replace('nbd', 'nbds')}//…`);
    }
  }
}

function tlsWishes(uri: string, url: URL, user: string | undefined): TlsWishes {
  const said = (name: (typeof tlsParameters)[number]) => url.searchParams.get(name) || undefined;
  const pskFile = said('tls-psk-file');
  const type = said('tls-type') ?? (pskFile === undefined ? 'x509' : 'psk');
  if (type === 'anon') {
    throw new DiskError('UNSUPPORTED', `${uri}: anonymous TLS proves nothing: use certificates or pre-shared keys`, {
      reason: 'tls',
    });
  }
  if (type !== 'x509' && type !== 'psk') {
    throw new DiskError('USAGE', `${uri}: tls-type is "${type}", expected x509 or psk`);
  }
  if (type === 'psk' && pskFile === undefined) {
    throw new DiskError('USAGE', `${uri}: names no file of keys: add tls-psk-file=FILE`);
  }
  const verify = said('tls-verify-peer') ?? '1';
  if (verify !== '0' && verify !== '1') {
    throw new DiskError('USAGE', `${uri}: tls-verify-peer is "${verify}", expected 0 or 1`);
  }
  return {
    type,
    certificates: said('tls-certificates'),
    pskFile,
    user,
    hostname: said('tls-hostname'),
    verifyPeer: verify === '1',
  };
}

function decode(uri: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new DiskError('USAGE', `${uri}: "${text}" is not percent-encoded UTF-8`);
  }
}
