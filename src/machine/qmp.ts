import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { DiskError } from '../error/disk-error.js';
import { errnoOf, wrapSystemError } from '../host/errno.js';
import { sendWithDescriptor } from '../host/pass-descriptor.js';
import { peerPid, socketFd } from '../host/socket.js';
import { type AskOptions, noAnswer, protocolError } from './agent.js';
import { errorOf, type JsonObject, parseObject } from './json.js';
import { MessageReader } from './message-reader.js';

/** Bytes: a machine with thousands of block nodes says as much of them. */
const longestLine = 32 << 20;
/** Milliseconds. */
const patience = 5000;

const nobody = ': does anybody else (libvirt) have this connection? QEMU takes one at a time';

interface Pending {
  readonly resolve: (message: JsonObject) => void;
  readonly reject: (error: unknown) => void;
}

/** The monitor of a QEMU: docs/interop/qmp-spec, its commands qapi/*.json. */
export class Qmp {
  readonly name: string;
  readonly #reader: MessageReader;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #greeted: Pending | undefined;
  #ended: DiskError | undefined;

  private constructor(
    path: string,
    private readonly socket: Socket,
  ) {
    this.name = `QEMU at ${path}`;
    this.#reader = new MessageReader(this.name, longestLine);
  }

  /** @throws {DiskError} NOT_FOUND, IO, PROTOCOL when there is no monitor at this unix socket; CANCELLED */
  static async connect(path: string, signal?: AbortSignal): Promise<Qmp> {
    const socket = connect({ path });
    await once(socket, 'connect', { signal: AbortSignal.timeout(patience) }).catch((error: unknown) => {
      socket.destroy();
      if (errnoOf(error) !== undefined) throw wrapSystemError(`connect to ${path}`, error, { device: path });
      throw noAnswer(`QEMU at ${path}`, 'connect', patience, nobody);
    });
    const qmp = new Qmp(path, socket);
    try {
      await qmp.#begin({ patience, signal });
      return qmp;
    } catch (error) {
      qmp.close();
      throw error;
    }
  }

  /**
   * @returns what it answers
   * @throws {DiskError} IO with the reason `qmp-error` in its words, `no-answer`, `qemu-gone`; PROTOCOL; CANCELLED
   */
  execute(command: string, args: JsonObject = {}, options: Partial<AskOptions> = {}): Promise<unknown> {
    return this.#execute(command, args, options, (bytes) => void this.socket.write(bytes));
  }

  /** The same, and hands it a descriptor: add-fd. */
  executeWithDescriptor(command: string, args: JsonObject, descriptor: number): Promise<unknown> {
    return this.#execute(command, args, {}, (bytes) => {
      const fd = socketFd(this.socket);
      if (fd === undefined) throw new DiskError('UNSUPPORTED', `${this.name}: this Node tells no socket's descriptor`);
      sendWithDescriptor(fd, bytes, descriptor);
    });
  }

  /** QEMU's process, unless somebody else has made its socket. */
  get pid(): number | undefined {
    const fd = socketFd(this.socket);
    return fd === undefined ? undefined : peerPid(fd);
  }

  close(): void {
    this.socket.destroy();
    this.#end(undefined);
  }

  async #begin(options: AskOptions): Promise<void> {
    const greeting = await this.#wait('greeting', options, (pending) => {
      this.#greeted = pending;
      this.socket
        .on('data', (chunk) => this.#receive(chunk))
        .on('error', (error) => this.#end(error))
        .on('close', () => this.#end(undefined));
    });
    if (!('QMP' in greeting)) throw protocolError(this.name, 'this is no monitor: it does not greet');
    await this.execute('qmp_capabilities', {}, options);
  }

  async #execute(
    command: string,
    args: JsonObject,
    { patience: time = patience, signal }: Partial<AskOptions>,
    send: (bytes: Uint8Array) => void,
  ): Promise<unknown> {
    const id = ++this.#lastId;
    try {
      const answer = await this.#wait(command, { patience: time, signal }, (pending) => {
        this.#pending.set(id, pending);
        send(Buffer.from(`${JSON.stringify({ execute: command, arguments: args, id })}\n`));
      });
      const error = errorOf(answer);
      if (error === undefined) return answer.return;
      throw new DiskError('IO', `${this.name}: ${command}: ${error.desc}`, { device: this.name, reason: 'qmp-error' });
    } finally {
      this.#pending.delete(id);
    }
  }

  async #wait(
    what: string,
    { patience: time, signal }: AskOptions,
    start: (pending: Pending) => void,
  ): Promise<JsonObject> {
    if (signal?.aborted) throw DiskError.cancelled(signal);
    if (this.#ended !== undefined) throw this.#ended;
    let timer: NodeJS.Timeout | undefined;
    let cancel = () => {};
    try {
      return await new Promise<JsonObject>((resolve, reject) => {
        timer = setTimeout(() => reject(noAnswer(this.name, what, time, nobody)), time);
        cancel = () => reject(DiskError.cancelled(signal));
        signal?.addEventListener('abort', cancel, { once: true });
        start({ resolve, reject });
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
    }
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const { text } of this.#reader.push(chunk)) this.#take(text);
    } catch (error) {
      this.#end(error);
      this.socket.destroy();
    }
  }

  /** Events, and answers that nobody waits for any more, are passed over. */
  #take(text: string): void {
    const message = parseObject(text);
    if (message === undefined) throw protocolError(this.name, 'sent what is no JSON object');
    if (this.#greeted !== undefined) {
      this.#greeted.resolve(message);
      this.#greeted = undefined;
    } else if (typeof message.id === 'number') this.#pending.get(message.id)?.resolve(message);
  }

  #end(error: unknown): void {
    this.#ended ??=
      error instanceof DiskError
        ? error
        : new DiskError('IO', `${this.name}: the connection ended`, { device: this.name, reason: 'qemu-gone' });
    this.#greeted?.reject(this.#ended);
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}
