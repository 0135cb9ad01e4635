/** The NBD core: a server, and the protocol that it speaks. */
export { type Export, isWritable } from './export.js';
export { defaultPort } from './on-wire.js';
export { loopback, NbdServer, type ServerOptions } from './server.js';
export { Session, type SessionOutput } from './session.js';
export { type Address, exportUri } from './uri.js';
