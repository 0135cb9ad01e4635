import { createServer, type Server, type Socket } from 'node:net';
import { DiskError } from '../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../host/errno.js';
import { socketFd, widenSends } from '../host/socket.js';
import { BufferPool } from './buffer-pool.js';
import { Connection } from './connection.js';
import type { Export } from './export.js';
import type { TlsOffer } from './tls/credentials.js';
import { clearStaleSocket } from './unix-socket.js';
import { type Address, exportUri } from './uri.js';
import { WorkerPool } from './worker/worker-pool.js';

export interface ServerOptions {
  /** Milliseconds for a client to come to the transmission phase. */
  readonly handshakeTimeout?: number | undefined;
  /** Milliseconds that a client has to take its last replies when the server closes. */
  readonly grace?: number | undefined;
  /** Connections at once; more are closed as they come. */
  readonly maximumConnections?: number | undefined;
  /** Of those, how many may be in the handshake: for one more, the oldest of them is dropped. */
  readonly maximumHandshakes?: number | undefined;
  /** Without it all is in the clear. */
  readonly tls?: TlsOffer | undefined;
}

const defaults = { handshakeTimeout: 60_000, grace: 3000, maximumConnections: 1024, maximumHandshakes: 256 };

/** A name for this machine itself, over IPv4 and IPv6. */
export const loopback = 'localhost';

/** Sockets that whoever started us listens on already. */
export interface Inherited {
  readonly descriptors: readonly number[];
}

/** Where one socket listens, in Node's words. */
type Place = { readonly path: string } | { readonly host: string; readonly port: number } | { readonly fd: number };

/** An NBD server. The exports' devices stay their owner's. */
export class NbdServer {
  readonly #limits: typeof defaults;
  readonly #tls: TlsOffer | undefined;
  readonly #servers: Server[] = [];
  readonly #connections = new Set<Connection>();
  readonly #pool = new BufferPool();
  readonly #workers = new WorkerPool();
  #address: Address = { socketPath: '' };
  #closing: Promise<void> | undefined;

  private constructor(
    private readonly exports: readonly Export[],
    { tls, ...limits }: ServerOptions,
  ) {
    this.#limits = { ...defaults, ...defined(limits) };
    this.#tls = tls;
  }

  /**
   * Listens on an address. A unix socket is for its owner alone (mode 0600).
   *
   * @throws {DiskError} BUSY when the address is taken; USAGE when it cannot be listened on
   */
  static async listen(
    exports: readonly Export[],
    address: Address | Inherited,
    options: ServerOptions = {},
  ): Promise<NbdServer> {
    const server = new NbdServer(exports, options);
    try {
      server.#address = await server.#listen(address);
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /** Serves the one client at the other end of a socket, and listens nowhere. */
  static over(socket: Socket, exports: readonly Export[], options: ServerOptions = {}): NbdServer {
    const server = new NbdServer(exports, options);
    server.#accept(socket);
    return server;
  }

  /** Where it listens. */
  get address(): Address {
    return this.#address;
  }

  async #listen(address: Address | Inherited): Promise<Address> {
    if ('descriptors' in address) {
      const found = await Promise.all(address.descriptors.map((fd) => this.#open({ fd })));
      return found[0] ?? this.#address;
    }
    if ('socketPath' in address) {
      await clearStaleSocket(address.socketPath);
      await this.#open({ path: address.socketPath });
      return address;
    }
    const { host } = address;
    const bound = await this.#open({ host: host === loopback ? '127.0.0.1' : host, port: address.port });
    const port = 'port' in bound ? bound.port : address.port;
    if (host === loopback) {
      const sixth = await this.#open({ host: '::1', port }).catch((error: unknown) => error);
      // A machine without IPv6, or a port that was free only on IPv4, when any port would do.
      if (sixth instanceof DiskError && !hasNoSuchAddress(sixth) && address.port !== 0) throw sixth;
    }
    return { host, port };
  }

  #open(at: Place): Promise<Address> {
    // A client that has said all still wants its replies.
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    this.#servers.push(server);
    return listening(server, at);
  }

  #accept(socket: Socket): void {
    const { handshakeTimeout, maximumConnections, maximumHandshakes } = this.#limits;
    const connections = this.#connections;
    const negotiating = [...connections].filter((connection) => connection.negotiating);
    if (negotiating.length >= maximumHandshakes) negotiating[0]?.drop();
    // Those that were moved to a worker count as well.
    if (connections.size >= maximumConnections) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    const fd = socket.remoteFamily === undefined ? socketFd(socket) : undefined;
    if (fd !== undefined) widenSends(fd);
    const connection = new Connection(socket, this.exports, this.#pool, {
      handshake: handshakeTimeout,
      move: (fd, agreed, rest) => this.#workers.take(fd, agreed, rest),
      tls: this.#tls,
    });
    connections.add(connection);
    void connection.closed.then(() => connections.delete(connection));
  }

  /** Resolves when every client that is there now has gone. */
  async clientsGone(): Promise<void> {
    await Promise.all([...this.#connections].map(({ closed }) => closed));
  }

  /** The URI of the default export. */
  get uri(): string {
    return this.uriOf(this.exports[0]?.name ?? '');
  }

  uriOf(name: string): string {
    return exportUri(this.#address, name, this.#tls?.mode === 'require');
  }

  /** Accepts nobody any more, answers what has been received, and hangs up. Does not flush the devices. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const stopped = this.#servers.map(closed);
    await Promise.all([...this.#connections].map((connection) => connection.finish(this.#limits.grace)));
    await Promise.all(stopped);
    await this.#workers.close();
  }
}

/** Without those that are undefined, which would hide a default. */
function defined(limits: Omit<ServerOptions, 'tls'>): Partial<typeof defaults> {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}

function hasNoSuchAddress(error: DiskError): boolean {
  return error.errno === 'EADDRNOTAVAIL' || error.errno === 'EAFNOSUPPORT';
}

/** Resolves with where it is. */
function listening(server: Server, at: Place): Promise<Address> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenError(at, error)));
    server.once('listening', () => {
      const address = server.address();
      if (typeof address === 'object' && address !== null) resolve({ host: address.address, port: address.port });
      else resolve({ socketPath: address ?? '' });
    });
    // The path is bound before listen returns, with the mode that the mask leaves: never open to others for a moment.
    const mask = 'path' in at ? process.umask(0o177) : undefined;
    try {
      server.listen(at);
    } finally {
      if (mask !== undefined) process.umask(mask);
    }
  });
}

function listenError(at: Place, error: unknown): unknown {
  const where = 'path' in at ? at.path : 'fd' in at ? `descriptor ${at.fd}` : `${at.host} port ${at.port}`;
  const errno = errnoOf(error);
  if (errno === 'EADDRINUSE') {
    return new DiskError('BUSY', `${where}: somebody is listening there: choose another with --port or --socket`, {
      errno,
      cause: error,
    });
  }
  return wrapSystemError(`listen on ${where}`, error);
}

function closed(server: Server): Promise<void> {
  // The callback's error says only that the server never listened.
  return new Promise((resolve) => server.close(() => resolve()));
}
