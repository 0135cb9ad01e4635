import type { Socket } from 'node:net';
import type { TLSSocket, TlsOptions } from 'node:tls';
import { DiskError } from '../../error/disk-error.js';

/** What every connection under TLS goes by, whatever the credentials. */
const rules = { minVersion: 'TLSv1.2', honorCipherOrder: true } as const;

/**
 * The server's side of TLS handshakes with these credentials.
 *
 * @param name of the credentials, for messages
 * @throws {DiskError} USAGE when OpenSSL will not have them
 */
export async function acceptor(
  name: string,
  credentials: TlsOptions,
): Promise<(socket: Socket, onSecure: (secure: TLSSocket) => void) => void> {
  // Only here: a server in the clear starts sooner without it.
  const [{ createServer }, { constants }] = await Promise.all([import('node:tls'), import('node:crypto')]);
  const options: TlsOptions = { ...credentials, ...rules, secureOptions: constants.SSL_OP_NO_RENEGOTIATION };
  // A server of its own for each socket: its event does not say for which socket it is.
  const serverFor = (onSecure?: (secure: TLSSocket) => void) => createServer(options, onSecure);
  try {
    serverFor();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new DiskError('USAGE', `${name}: cannot be used for TLS: ${why}`, { cause: error });
  }
  return (socket, onSecure) => {
    // Who hangs up during the TLS handshake has nothing to wait for; who does so after it may still want replies.
    socket.allowHalfOpen = false;
    const server = serverFor((secure) => {
      secure.allowHalfOpen = true;
      socket.allowHalfOpen = true;
      onSecure(secure);
    });
    // Wrong key, no certificate, no TLS at all: there is nobody to tell.
    server.on('tlsClientError', () => socket.destroy());
    server.emit('connection', socket);
  };
}
