import { randomInt } from 'node:crypto';
import { DiskError } from '../error/disk-error.js';
import { errnoMeaning, errnoOf } from '../host/errno.js';
import { type Agent, type AskOptions, agentName, answerOf, noAnswer } from './agent.js';
import { type Channel, openChannel } from './channel.js';
import { type JsonObject, parseObject } from './json.js';
import { type Line, MessageReader } from './message-reader.js';

/** Bytes: a guest with thousands of mounts says as much of them. */
const longestLine = 4 << 20;
/** What a fresh connection, or one after a late answer, is brought in step with. */
const synchronize = 'guest-sync-delimited';
const largestId = 2 ** 47;

const nobody =
  ': does qemu-ga run in the guest, does the guest run, and has nobody else (libvirt: --domain) this connection?';

interface Wait {
  /** @returns whether it is the line that is waited for */
  accept(line: Line): boolean;
  fail(error: unknown): void;
}

/**
 * A guest agent on a channel of its own. QEMU lets one client at a time speak; an answer that came too late for its
 * client is still in the pipe, and what a client has sent by half may be in the agent: so it begins, and goes on after
 * any answer that did not come, by guest-sync-delimited (qga/qapi-schema.json).
 */
export class SocketAgent implements Agent {
  readonly name: string;
  readonly #reader: MessageReader;
  #channel: Channel | undefined;
  #wait: Wait | undefined;
  #inStep = false;
  #ended: DiskError | undefined;

  private constructor(path: string) {
    this.name = agentName({ kind: 'socket', path });
    this.#reader = new MessageReader(this.name, longestLine);
  }

  /** @throws {DiskError} NOT_FOUND, IO, USAGE when there is no such channel */
  static async connect(path: string): Promise<SocketAgent> {
    const agent = new SocketAgent(path);
    agent.#channel = await openChannel(path, {
      onData: (chunk) => agent.#receive(chunk),
      onEnd: (error) => agent.#end(error),
    });
    return agent;
  }

  async execute(command: string, args: JsonObject | undefined, options: AskOptions): Promise<unknown> {
    if (!this.#inStep) await this.#synchronize(options);
    const { text } = await this.#ask(command, request(command, args), () => true, options);
    const message = parseObject(text);
    // Who does not speak the protocol is brought back to it before anything else is asked.
    if (message === undefined) this.#inStep = false;
    return answerOf(this.name, command, message);
  }

  close(): void {
    this.#channel?.close();
    this.#end(undefined);
  }

  async #synchronize(options: AskOptions): Promise<void> {
    const id = randomInt(1, largestId);
    const isEcho = ({ text, delimited }: Line) => delimited && parseObject(text)?.return === id;
    // A first byte that is no JSON makes the agent forget what was sent to it by half.
    const bytes = Buffer.concat([Uint8Array.of(0xff), request(synchronize, { id })]);
    await this.#ask(synchronize, bytes, isEcho, options);
    this.#inStep = true;
  }

  async #ask(
    command: string,
    bytes: Uint8Array,
    accepts: (line: Line) => boolean,
    { patience, signal }: AskOptions,
  ): Promise<Line> {
    if (signal?.aborted) throw DiskError.cancelled(signal);
    if (this.#ended !== undefined) throw this.#ended;
    let timer: NodeJS.Timeout | undefined;
    let cancel = () => {};
    try {
      return await new Promise<Line>((resolve, reject) => {
        const giveUp = (error: unknown) => {
          // Its answer may still come.
          this.#inStep = false;
          reject(error);
        };
        timer = setTimeout(() => giveUp(noAnswer(this.name, command, patience, nobody)), patience);
        cancel = () => giveUp(DiskError.cancelled(signal));
        signal?.addEventListener('abort', cancel, { once: true });
        this.#wait = {
          accept: (line) => {
            if (!accepts(line)) return false;
            resolve(line);
            return true;
          },
          fail: giveUp,
        };
        this.#channel?.send(bytes);
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
      this.#wait = undefined;
    }
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const line of this.#reader.push(chunk)) {
        // What nobody has asked for is an answer that came too late.
        if (this.#wait?.accept(line)) this.#wait = undefined;
      }
    } catch (error) {
      this.#wait?.fail(error);
    }
  }

  #end(error: unknown): void {
    const errno = errnoOf(error);
    const how = errno === undefined ? '' : ` (${errnoMeaning(errno)})`;
    this.#ended ??= new DiskError('IO', `${this.name}: the connection ended${how}`, {
      device: this.name,
      reason: 'agent-gone',
      errno,
    });
    this.#wait?.fail(this.#ended);
  }
}

function request(command: string, args: JsonObject | undefined): Uint8Array {
  return Buffer.from(`${JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }) })}\n`);
}
