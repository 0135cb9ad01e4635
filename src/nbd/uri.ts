import { resolve } from 'node:path';

/** Where a server listens: a unix socket, or a TCP port. */
export type Address =
  | { readonly socketPath: string }
  | {
      /** A name or an address of this machine. */
      readonly host: string;
      /** 0: any free one. */
      readonly port: number;
    };

/**
 * The URI of an export, as every NBD client takes it.
 *
 * @param secure clients must use TLS
 * @see NBD doc/uri.md
 */
export function exportUri(address: Address, name: string, secure = false): string {
  const scheme = secure ? 'nbds' : 'nbd';
  const path = encodeURIComponent(name).replaceAll('%2F', '/');
  if ('socketPath' in address) {
    const socket = encodeURIComponent(resolve(address.socketPath)).replaceAll('%2F', '/');
    return `${scheme}+unix:///${path}?socket=${socket}`;
  }
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${scheme}://${host}:${address.port}/${path}`;
}
