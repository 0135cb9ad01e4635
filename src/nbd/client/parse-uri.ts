import { DiskError } from '../../error/disk-error.js';
import { defaultPort } from '../on-wire.js';

/** What an NBD URI names. */
export interface NbdTarget {
  readonly at: { readonly path: string } | { readonly host: string; readonly port: number };
  readonly exportName: string;
}

/** Whether a name is an NBD URI of any kind, right or wrong. */
export function isNbdUri(text: string): boolean {
  return /^nbds?(\+[a-z0-9]+)?:\/\//i.test(text);
}

/**
 * Takes an NBD URI apart: `nbd://host:port/export` or `nbd+unix:///export?socket=PATH`.
 *
 * @throws {DiskError} USAGE; UNSUPPORTED for TLS and for other transports
 * @see NBD doc/uri.md
 */
export function parseNbdUri(uri: string): NbdTarget {
  const url = URL.parse?.(uri) ?? (URL.canParse(uri) ? new URL(uri) : null);
  if (url === null) throw new DiskError('USAGE', `${uri}: is no URI: write it like nbd://localhost/export`);
  const scheme = url.protocol.slice(0, -1).toLowerCase();
  const exportName = decode(uri, url.pathname.replace(/^\//, ''));
  if (scheme === 'nbds' || scheme === 'nbds+unix') {
    throw new DiskError('UNSUPPORTED', `${uri}: TLS is not supported yet: use nbd:// or nbd+unix://`, {
      reason: 'tls',
    });
  }
  const socket = url.searchParams.get('socket');
  if (scheme === 'nbd+unix') {
    if (socket === null || socket === '') throw new DiskError('USAGE', `${uri}: names no socket: add ?socket=PATH`);
    if (url.host !== '') throw new DiskError('USAGE', `${uri}: a unix socket has no host: write nbd+unix:///…`);
    return { at: { path: socket }, exportName };
  }
  if (scheme !== 'nbd') {
    throw new DiskError('UNSUPPORTED', `${uri}: ${scheme} URIs are not supported: use nbd:// or nbd+unix://`, {
      reason: 'uri',
    });
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    at: { host: host === '' ? 'localhost' : decode(uri, host), port: url.port === '' ? defaultPort : Number(url.port) },
    exportName,
  };
}

function decode(uri: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new DiskError('USAGE', `${uri}: "${text}" is not percent-encoded UTF-8`);
  }
}
