import { DiskError } from '../error/disk-error.js';
import { errorOf, isObject, type JsonObject } from './json.js';

/** How a guest agent is reached. */
export type AgentAddress =
  /** A unix socket or a character device. */
  | { readonly kind: 'socket'; readonly path: string }
  /** By libvirt, which holds the connection. */
  | { readonly kind: 'domain'; readonly name: string };

/** What a guest is called in messages. */
export function agentName(address: AgentAddress): string {
  return address.kind === 'socket' ? `guest agent at ${address.path}` : `guest agent of ${address.name}`;
}

export interface AskOptions {
  /** Milliseconds to wait for the answer. */
  readonly patience: number;
  readonly signal?: AbortSignal | undefined;
}

/** A guest agent that is reached: its commands are qga/qapi-schema.json of QEMU. */
export interface Agent {
  readonly name: string;
  /**
   * @returns what it answers
   * @throws {DiskError} IO with the reason `agent-error` in its words, `no-answer`, `agent-gone`; UNSUPPORTED for a
   * command that it does not have, or not now; PROTOCOL; CANCELLED
   */
  execute(command: string, args: JsonObject | undefined, options: AskOptions): Promise<unknown>;
  close(): void;
}

/** What an answer says. @throws {DiskError} as {@link Agent.execute} */
export function answerOf(name: string, command: string, message: JsonObject | undefined): unknown {
  if (message === undefined) throw protocolError(name, `${command}: answered with what is no JSON object`);
  const error = errorOf(message);
  if (error !== undefined) {
    const unknown = error.class === 'CommandNotFound' || /has been disabled|not enabled|is blocked/.test(error.desc);
    throw new DiskError(unknown ? 'UNSUPPORTED' : 'IO', `${name}: ${command}: ${error.desc}`, {
      device: name,
      reason: 'agent-error',
    });
  }
  if (!('return' in message)) throw protocolError(name, `${command}: answered with neither "return" nor "error"`);
  return message.return;
}

export function protocolError(name: string, what: string): DiskError {
  return new DiskError('PROTOCOL', `${name}: ${what}`, { device: name });
}

export function noAnswer(name: string, command: string, patience: number, advice: string): DiskError {
  return new DiskError('IO', `${name}: ${command}: no answer within ${patience / 1000} s${advice}`, {
    device: name,
    reason: 'no-answer',
    errno: 'ETIMEDOUT',
  });
}

/** The mount points that a guest has, and the device that each lies on. */
export function mountsOf(name: string, answer: unknown): { mountPoint: string; device: string }[] {
  if (!Array.isArray(answer)) throw protocolError(name, 'guest-get-fsinfo: answered with no list');
  return answer.flatMap((entry: unknown) => {
    if (!isObject(entry) || typeof entry.mountpoint !== 'string') return [];
    return [{ mountPoint: entry.mountpoint, device: typeof entry.name === 'string' ? entry.name : entry.mountpoint }];
  });
}
