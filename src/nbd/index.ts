/** The NBD core: a server, a client, and the protocol between them. */
export { type ConnectOptions, NbdDevice } from './client/nbd-device.js';
export { isNbdUri, type NbdTarget, parseNbdUri } from './client/parse-uri.js';
export { type Export, isWritable } from './export.js';
export type { TlsMode } from './handshake.js';
export { defaultPort } from './on-wire.js';
export { type Access, RequestRing, type TakeRequest } from './request-ring.js';
export { type Inherited, loopback, NbdServer, type ServerOptions } from './server.js';
export { Session, type SessionOutput } from './session.js';
export {
  type CredentialsOptions,
  loadCertificates,
  loadPskFile,
  type TlsCredentials,
  type TlsOffer,
} from './tls/credentials.js';
export { type Address, exportUri } from './uri.js';
